"""Where things lie in a project: one place for every path that two modules share.

A *subject* is what `evaluate` measures: the teacher, a student's checkpoint, a candidate, or a runtime's champion.
A *candidate* is student × runtime × precision, and is named by joining the three with hyphens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from alambique.files import folder_sha256

Kind = Literal["control", "distilled", "pruned"]
Precision = Literal["fp32", "int8"]
SEEDED: tuple[Kind, ...] = ("control", "distilled")
"""Trained once for every seed; only the first seed's student is pruned and exported."""

DATA = Path("data")
"""YOLO layout: data.yaml, images/{train,val,test[,unlabelled]}, labels/{train,val,test}."""
INPUTS = Path("inputs")
"""What `snapshot` resolved: teachers/, students/, champions/, each with an index.json; tracked by DVC."""
ARRIVALS = Path("arrivals")
"""A record of every ingestion, `<batch>.json`: what became of each file; kept in git."""
TEACHERS = Path("models/teacher")
SOFT_LABELS = Path("soft_labels")
CANDIDATES = Path("candidates")
EVALUATIONS = Path("evaluations")
METRICS = Path("metrics")
REPORT = Path("report")
VALIDATION = Path("validation")
SEARCH = Path("search")
CHOICE = SEARCH / "choice.json"
"""What share of each student is pruned, and how a budget led to it; see `alambique.report.search`."""

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


class EvaluationTarget(NamedTuple):
    """What `evaluate` measures, and what `compare` has a row for."""

    name: str
    kind: Literal["teacher", "control", "distilled", "pruned", "candidate", "champion"]
    student: str | None = None
    runtime: str | None = None
    precision: str | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, name: str) -> EvaluationTarget:
        """Read the name of a subject.

        teacher-<name>, <student>-<control or distilled>-<seed>, <student>-pruned, <student>-<runtime>-<precision> or
        champion-<runtime>.

        Raises:
            ValueError: `name` is none of these.
        """
        match name.split("-"):
            case ["teacher", _]:
                return cls(name, "teacher")
            case ["champion", runtime]:
                return cls(name, "champion", runtime=runtime)
            case [student, "control" | "distilled" as kind, seed] if seed.isdecimal():
                return cls(name, kind, student, seed=int(seed))
            case [student, "pruned"]:
                return cls(name, "pruned", student)
            case [student, runtime, "fp32" | "int8" as precision]:
                return cls(name, "candidate", student, runtime, precision)
        raise ValueError(
            f"{name!r} is no subject: teacher-name, student-control-seed, student-distilled-seed, student-pruned, "
            "student-runtime-precision or champion-runtime"
        )

    @property
    def folder(self) -> Path:
        """Where its weights or artifact lie."""
        if self.kind == "candidate":
            return CANDIDATES / self.name
        if self.kind == "champion":
            return INPUTS / "champions" / str(self.runtime)
        if self.kind == "teacher":
            return teacher(self.name.removeprefix("teacher-"))
        return checkpoint(str(self.student), self.kind, self.seed)


def evaluation_targets(
    teachers: Iterable[str],
    students: Iterable[str],
    seeds: Iterable[int],
    runtimes: Iterable[str],
    int8: Collection[str],
) -> Iterator[EvaluationTarget]:
    """All subjects of a run: the teachers, each student's checkpoints and candidates, the champions.

    Args:
        int8: the runtimes which students are also quantized for.
    """
    runtimes, seeds = tuple(runtimes), tuple(seeds)
    for name in teachers:
        yield EvaluationTarget.parse(f"teacher-{name}")
    for student in students:
        for kind in SEEDED:
            for seed in seeds:
                yield EvaluationTarget.parse(f"{student}-{kind}-{seed}")
        yield EvaluationTarget.parse(f"{student}-pruned")
        for runtime in runtimes:
            for precision in ("fp32", "int8") if runtime in int8 else ("fp32",):
                yield EvaluationTarget.parse(Candidate(student, runtime, precision).name)
    for runtime in runtimes:
        yield EvaluationTarget.parse(f"champion-{runtime}")


def teacher(name: str) -> Path:
    """Folder of a teacher's checkpoint: weights.pt, card.json, curves.csv."""
    return TEACHERS / name


def checkpoint(student: str, kind: Kind, seed: int | None = None) -> Path:
    """Folder of a student's checkpoint: weights.pt, card.json, curves.csv.

    Args:
        student: its name.
        kind: control, distilled or pruned.
        seed: it was trained with; the pruned one is of the first seed's student, and has none of its own.
    """
    folder = Path("models") / kind
    # All students of a seed lie together: a stage that needs all of them depends on one folder.
    return folder / student if seed is None else folder / str(seed) / student


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
