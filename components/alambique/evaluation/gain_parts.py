"""The parts of what distillation was worth: differences between trainings that learn from one thing more each."""

from __future__ import annotations

from typing import NamedTuple

from alambique.config.params import Params
from alambique.layout import Seeded


class Part(NamedTuple):
    """What one training learns from beyond the one before it.

    Attributes:
        of: that thing, in the report's words.
        kind, before: the two trainings.
    """

    of: str
    kind: Seeded
    before: Seeded


def parts(params: Params, student: str, unlabelled: str | None) -> list[Part]:
    """From the control to the distilled student, by the `ablations` between them; without any, no parts.

    Two trainings that are the same, as `start` and the control of a student without `weights: teacher`, have none.

    Args:
        unlabelled: name of the unlabelled samples; None where the dataset has none.
    """
    added: dict[Seeded, tuple[str, ...]] = {
        "start": ("start",) if params.starts_from_teacher(student) else (),
        "labelled": params.labelled_signals,
        "distilled": (unlabelled,) if unlabelled and params.unlabelled_signals else (),
    }
    found: list[Part] = []
    before: Seeded = "control"
    things: list[str] = []
    for kind, names in added.items():
        things += names
        if kind == "distilled" or kind in params.ablations:
            if things:
                found.append(Part(" and ".join(things), kind, before))
            before, things = kind, []
    return found if params.ablations else []
