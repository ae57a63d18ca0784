"""Definitions as textbooks give them, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """exp(z_i / T) / Σ exp(z_j / T)."""
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def kl(first: Sequence[float], second: Sequence[float]) -> float:
    """Σ p log(p / q), of probabilities."""
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True) if p)


def plain_kl(student: list[float], teacher: list[float], temperature: float) -> float:
    """T² · KL(teacher ‖ student) of two vectors of logits, softened by a temperature."""
    return temperature**2 * kl(softmax(teacher, temperature), softmax(student, temperature))


def merged(probabilities: Sequence[float], kept: Sequence[int]) -> list[float]:
    """The probabilities of the kept classes and, last, of all others together."""
    return [probabilities[index] for index in kept] + [
        sum(probability for index, probability in enumerate(probabilities) if index not in kept)
    ]


def largest(probabilities: Sequence[float], k: int) -> list[int]:
    """Indices of the k largest, descending."""
    return sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:k]


def evenly_filled(probabilities: Sequence[float], kept: Sequence[int]) -> list[float]:
    """The kept probabilities in their places, and every other class an even part of what is left."""
    left = 1 - sum(probabilities[index] for index in kept)
    others = len(probabilities) - len(kept)
    return [value if index in kept else left / others for index, value in enumerate(probabilities)]
