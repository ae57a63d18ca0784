"""Definitions as textbooks give them, in plain Python."""

from __future__ import annotations

import math


def plain_kl(student: list[float], teacher: list[float], temperature: float) -> float:
    """The textbook's definition for one box, in plain Python."""

    def softmax(logits: list[float]) -> list[float]:
        powers = [math.exp(logit / temperature) for logit in logits]
        return [power / sum(powers) for power in powers]

    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs if p)
