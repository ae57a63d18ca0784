"""Where things lie in a project: one place for every path that two modules share.

A *subject* is what `evaluate` measures: the teacher, a student's checkpoint, a candidate, or a runtime's champion.
A *candidate* is student × runtime × precision, and is named by joining the three with hyphens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["control", "distilled", "pruned"]
Precision = Literal["fp32", "int8"]
KINDS: tuple[Kind, ...] = ("control", "distilled", "pruned")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

DATA = Path("data")
"""YOLO layout: data.yaml, images/{train,val,test[,unlabelled]}, labels/{train,val,test}."""
INPUTS = Path("inputs")
"""What `snapshot` resolved: teacher/, students/, champions/, each with an index.json; tracked by DVC."""
TEACHER = Path("models/teacher")
SOFT_LABELS = Path("soft_labels")
CANDIDATES = Path("candidates")
EVALUATIONS = Path("evaluations")
METRICS = Path("metrics")
REPORT = Path("report")
VALIDATION = Path("validation")


class Candidate(NamedTuple):
    """One deployable artifact."""

    student: str
    runtime: str
    precision: str

    @property
    def name(self) -> str:
        return "-".join(self)

    @property
    def folder(self) -> Path:
        return CANDIDATES / self.name

    @classmethod
    def parse(cls, name: str) -> Candidate:
        """The inverse of `name`; student names hold no hyphen.

        Raises:
            ValueError: `name` is not student-runtime-precision.
        """
        student, runtime, precision = name.split("-")
        return cls(student, runtime, precision)


def checkpoint(student: str, kind: Kind) -> Path:
    """Folder of a student's checkpoint: weights.pt, card.json, curves.csv."""
    return Path("models") / student / kind


def champion(runtime: str) -> Path:
    """Folder of a runtime's champion as it was when the run began; without a champion it holds no card.json."""
    return INPUTS / "champions" / runtime


def evaluation(subject: str) -> Path:
    """Folder of a subject's per-image results."""
    return EVALUATIONS / subject


def evaluation_metrics(subject: str) -> Path:
    """The metrics file of a subject."""
    return METRICS / "evaluate" / f"{subject}.json"


def shard(index: int | str) -> Path:
    """Folder of one shard of the soft labels: soft_labels.arrow, manifest.json."""
    return SOFT_LABELS / str(index)
