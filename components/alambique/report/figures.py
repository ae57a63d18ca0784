"""Figures as people read them: with units and signs, an unknown one a dash."""

from __future__ import annotations

from typing import Literal

from alambique.evaluation.leaderboard import Delta, Gain
from alambique.messages import Check

UNKNOWN = "–"


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


def interval(gain: Gain | Delta) -> str:
    """The interval in points: [−0.3, +1.2]."""
    return f"[{signed(gain['low'])}, {signed(gain['high'])}]"


def difference(check: Check) -> str:
    """Confidence interval of the difference from the reference, in the metric's unit: [-0.0123, +0.0045]."""
    return "" if check.low is None or check.high is None else f"[{check.low:+.3g}, {check.high:+.3g}]"


FILTERS = (points, signed, number, figure, in_unit, singular, count, interval)
"""What the page's templates call by name."""
