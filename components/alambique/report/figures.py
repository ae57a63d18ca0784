"""Figures as people read them: with units and signs, an unknown one a dash; the gain by distillation in sentences."""

from __future__ import annotations

from typing import Literal

from alambique.evaluation.leaderboard import Delta, Gain
from alambique.messages import Check

UNKNOWN = "–"

SHOWN = 0.0005
"""Smallest gain, 0 to 1, that is not shown as 0.0 points."""


def points(share: float | None) -> str:
    """A share in points: 0.605 → 60.5."""
    return UNKNOWN if share is None else f"{share * 100:.1f}"


def signed(share: float | None) -> str:
    """A difference in points with its sign: −1.2."""
    if share is None:
        return UNKNOWN
    text = f"{share * 100:+.1f}"
    return "±0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "−")


def number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    return UNKNOWN if value is None else f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def figure(value: float | None) -> str:
    """Four significant digits."""
    return "" if value is None else f"{value:.4g}"


def in_unit(value: float | None, unit: Literal["points", "number"]) -> str:
    """A measure's figure, formatted by its unit."""
    return points(value) if unit == "points" else number(value)


def singular(samples: str) -> str:
    """The singular with its article: images → an image."""
    one = samples.removesuffix("s")
    return f"{'an' if one[0] in 'aeiou' else 'a'} {one}"


def count(value: float | None) -> str:
    """A large whole number: 2504580 → 2.50 M."""
    if value is None:
        return UNKNOWN
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def outcome(gain: Gain | None) -> Literal["gain", "loss", "even"]:
    """A gain or a loss if the interval excludes zero and the gain is at least `SHOWN`."""
    if gain is None or gain["low"] <= 0 <= gain["high"] or abs(gain["value"]) < SHOWN:
        return "even"
    return "gain" if gain["value"] > 0 else "loss"


def verdict(student: str, gain: Gain | None, label: str) -> str:
    """One sentence: better, worse or undecided, by how many points of the headline `label`, with the 95 % interval."""
    if gain is None:
        return (
            f"The gain of {student} by distillation is unknown: "
            f"a distilled student or a control has no {label} on today's test split."
        )
    figures = f"points of {label} {interval(gain)}"
    match outcome(gain):
        case "gain":
            return f"Distillation made {student} better by {points(gain['value'])} {figures}."
        case "loss":
            return f"Distillation made {student} worse by {points(-gain['value'])} {figures}."
    return f"The gain of {student} by distillation is not significant: {signed(gain['value'])} {figures}."


def interval(gain: Gain | Delta) -> str:
    """The interval in points: [−0.3, +1.2]."""
    return f"[{signed(gain['low'])}, {signed(gain['high'])}]"


def scope(seeds: int, images: int | None, samples: str) -> str:
    """Which sources of variance the interval covers."""
    if seeds == 1:
        return (
            f"Distilled minus control, one training of each: the 95 % interval covers the choice of the {images} test "
            f"{samples} only, not the randomness of training. More `seeds` in params.yaml would."
        )
    return (
        f"Distilled minus control, the mean of all {seeds} seeds: the 95 % interval covers the choice of the {images} "
        f"test {samples} and the randomness of training, as far as so many seeds show it."
    )


def difference(check: Check) -> str:
    """Confidence interval of the difference from the reference, in the metric's unit: [-0.0123, +0.0045]."""
    return "" if check.low is None or check.high is None else f"[{check.low:+.3g}, {check.high:+.3g}]"


FILTERS = (points, signed, number, figure, in_unit, singular, count, outcome, interval)
"""What the page's templates call by name."""
