"""Where things lie in a project: one place for every path that two modules share.

A *subject* is what `evaluate` measures: the teacher, a student's checkpoint, a candidate, or a runtime's champion.
A *candidate* is student × runtime × precision, and is named by joining the three with hyphens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from alambique.files import folder_sha256

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

CARD = "card.json"
"""Describes the checkpoint or the artifact in whose folder it lies."""
WEIGHTS = "weights.pt"
CURVES = "curves.csv"
DECISIONS = Path("decisions.json")
"""What the gate decided, written by `record` into the run's commit; promotion rests on it."""


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


class Subject(NamedTuple):
    """What `evaluate` measures, and what `compare` has a row for."""

    name: str
    kind: Literal["teacher", "control", "distilled", "pruned", "candidate", "champion"]
    student: str | None = None
    runtime: str | None = None
    precision: str | None = None

    @classmethod
    def parse(cls, name: str) -> Subject:
        """teacher, <student>-<kind>, <student>-<runtime>-<precision> or champion-<runtime>.

        Raises:
            ValueError: `name` is none of these.
        """
        match name.split("-"):
            case ["teacher"]:
                return cls(name, "teacher")
            case ["champion", runtime]:
                return cls(name, "champion", runtime=runtime)
            case [student, "control" | "distilled" | "pruned" as kind]:
                return cls(name, kind, student)
            case [student, runtime, "fp32" | "int8" as precision]:
                return cls(name, "candidate", student, runtime, precision)
        raise ValueError(
            f"{name!r} is no subject: teacher, student-kind, student-runtime-precision or champion-runtime"
        )

    @property
    def folder(self) -> Path:
        """Where its weights or artifact lie."""
        if self.kind == "candidate":
            return CANDIDATES / self.name
        if self.kind == "champion":
            return INPUTS / "champions" / str(self.runtime)
        return Path("models") / self.student / self.kind if self.student else TEACHER


def subjects(students: Iterable[str], runtimes: Iterable[str]) -> Iterator[Subject]:
    """All subjects of a run: the teacher, each student's checkpoints and candidates, the champions."""
    runtimes = tuple(runtimes)
    yield Subject.parse("teacher")
    for student in students:
        for kind in KINDS:
            yield Subject.parse(f"{student}-{kind}")
        for runtime in runtimes:
            for precision in PRECISIONS:
                yield Subject.parse(Candidate(student, runtime, precision).name)
    for runtime in runtimes:
        yield Subject.parse(f"champion-{runtime}")


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


def artifact_digest(folder: Path) -> str:
    """sha256 over a candidate's files, its card excepted: what gates judge and the ledger promises."""
    return folder_sha256(folder, exclude=(CARD,))
