"""What distillation was worth to a student, said plainly: on the page and in a terminal alike."""

from __future__ import annotations

from typing import Literal

from alambique.evaluation.leaderboard import Delta, Gain
from alambique.report.figures import points, signed

SHOWN = 0.0005
"""Of a share: what is less is shown as 0.0 points."""


def outcome(gain: Gain | None) -> Literal["gain", "loss", "even"]:
    """A gain or a loss only where the interval leaves out zero, and the figure shows it."""
    if gain is None or gain["low"] <= 0 <= gain["high"] or abs(gain["value"]) < SHOWN:
        return "even"
    return "gain" if gain["value"] > 0 else "loss"


def verdict(student: str, gain: Gain | None, label: str) -> str:
    """Better, worse, or neither for certain; differences in points of the headline, `label`, with the 95 % interval."""
    if gain is None:
        return (
            f"What distillation was worth to {student} cannot be told: "
            f"a distilled student or a control has no {label} on today's test split."
        )
    figures = f"points of {label} {interval(gain)}"
    match outcome(gain):
        case "gain":
            return f"Distillation made {student} better by {points(gain['value'])} {figures}."
        case "loss":
            return f"Distillation made {student} worse by {points(-gain['value'])} {figures}."
    return f"What distillation did to {student} is not distinguishable from zero: {signed(gain['value'])} {figures}."


def interval(gain: Gain | Delta) -> str:
    """Its ends in points: [−0.3, +1.2]."""
    return f"[{signed(gain['low'])}, {signed(gain['high'])}]"


def scope(seeds: int, images: int | None, samples: str) -> str:
    """What the interval covers, and what it doesn't."""
    if seeds == 1:
        return (
            f"Distilled minus control, one training of each: the 95 % interval covers the choice of the {images} test "
            f"{samples} only, not the training's chance. More `seeds` in params.yaml would."
        )
    return (
        f"Distilled minus control, the mean of all {seeds} seeds: the 95 % interval covers the choice of the {images} "
        f"test {samples} and the training's chance, as far as so many seeds show it."
    )
