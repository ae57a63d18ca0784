"""Paths inside a project that several modules share, and the names of evaluation targets and candidates.

An *evaluation target* is what the stage `evaluate` measures: a teacher, a student's checkpoint, a candidate, or a
runtime's champion; files name it "subject". A *candidate* is student × runtime × precision, joined by hyphens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from alambique.files import folder_sha256

Ablation = Literal["start", "labelled"]
"""Trainings between the control and the distilled student, which split what distillation was worth."""
Seeded = Literal["control", "start", "labelled", "distilled"]
Kind = Literal["control", "start", "labelled", "distilled", "pruned"]
Precision = Literal["fp32", "int8"]
SEEDED: tuple[Kind, ...] = ("control", "distilled")
"""Checkpoints always trained, for every seed; only the first seed's distilled one is pruned and exported."""

DATA = Path("data")
"""YOLO layout: data.yaml, images/{train,val,test[,unlabelled]}, labels/{train,val,test}."""
INPUTS = Path("inputs")
"""Written by `runs.resolve_inputs`: teachers/, students/, champions/, each with an index.json; tracked by DVC."""
ARRIVALS = Path("arrivals")
"""A record of every ingestion, `<batch>.json`, with each file's outcome; in git."""
TEACHERS = Path("models/teacher")
SOFT_LABELS = Path("soft_labels")
CANDIDATES = Path("candidates")
EVALUATIONS = Path("evaluations")
METRICS = Path("metrics")
REPORT = Path("report")
VALIDATION = Path("validation")
SEARCH = Path("search")
CHOICE = SEARCH / "choice.json"
"""The pruning ratio of each student, and the search for a budget that chose it; see `report.search`."""

CARD = "card.json"
"""Describes the checkpoint or the artifact in its folder."""
WEIGHTS = "weights.pt"
CURVES = "curves.csv"
DECISIONS = Path("decisions.json")
"""The gates' verdicts, written by `record` into the run's commit; a promotion reads them."""


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
    """One evaluation of the stage `evaluate`, and one row of the leaderboard."""

    name: str
    kind: Literal["teacher", "control", "start", "labelled", "distilled", "pruned", "candidate", "champion"]
    student: str | None = None
    runtime: str | None = None
    precision: str | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, name: str) -> EvaluationTarget:
        """Parse the name of an evaluation target.

        teacher-<name>, <student>-<control, distilled or an ablation>-<seed>, <student>-pruned,
        <student>-<runtime>-<precision> or champion-<runtime>.

        Raises:
            ValueError: `name` is none of these.
        """
        match name.split("-"):
            case ["teacher", _]:
                return cls(name, "teacher")
            case ["champion", runtime]:
                return cls(name, "champion", runtime=runtime)
            case [student, "control" | "start" | "labelled" | "distilled" as kind, seed] if seed.isdecimal():
                return cls(name, kind, student, seed=int(seed))
            case [student, "pruned"]:
                return cls(name, "pruned", student)
            case [student, runtime, "fp32" | "int8" as precision]:
                return cls(name, "candidate", student, runtime, precision)
        raise ValueError(
            f"{name!r} is no evaluation target: teacher-name, student-kind-seed (kind: {', '.join(get_args(Seeded))}), "
            "student-pruned, student-runtime-precision or champion-runtime"
        )

    @property
    def folder(self) -> Path:
        """Folder of its weights or artifact."""
        if self.kind == "candidate":
            return CANDIDATES / self.name
        if self.kind == "champion":
            return champion(str(self.runtime))
        if self.kind == "teacher":
            return teacher(self.name.removeprefix("teacher-"))
        return checkpoint(str(self.student), self.kind, self.seed)


def evaluation_targets(
    teachers: Iterable[str],
    students: Iterable[str],
    seeds: Iterable[int],
    runtimes: Iterable[str],
    int8: Collection[str],
    ablations: Collection[Ablation] = (),
) -> Iterator[EvaluationTarget]:
    """All evaluation targets of a run: the teachers, each student's checkpoints and candidates, the champions.

    Students are also quantized for the runtimes in `int8`, and trained by the `ablations`.
    """
    runtimes, seeds = tuple(runtimes), tuple(seeds)
    kinds = [kind for kind in get_args(Seeded) if kind in {*SEEDED, *ablations}]
    for name in teachers:
        yield EvaluationTarget.parse(f"teacher-{name}")
    for student in students:
        for kind in kinds:
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

    The pruned one, which is made from the first seed's student, has no seed.
    """
    folder = Path("models") / kind
    # All students of a seed are in one folder: a stage that needs all of them depends on that.
    return folder / student if seed is None else folder / str(seed) / student


def champion(runtime: str) -> Path:
    """Folder of a runtime's champion at the start of the run; without a champion it has no card.json."""
    return INPUTS / "champions" / runtime


def evaluation(target: str) -> Path:
    """Folder of an evaluation target's results, sample by sample."""
    return EVALUATIONS / target


def evaluation_metrics(target: str) -> Path:
    """The metrics file of an evaluation target."""
    return METRICS / "evaluate" / f"{target}.json"


def shard(index: int | str) -> Path:
    """Folder of one shard of the soft labels: soft_labels.arrow, manifest.json."""
    return SOFT_LABELS / str(index)


def artifact_digest(folder: Path) -> str:
    """SHA-256 over a candidate's files without its card: identifies the artifact in gates, registry and ledger."""
    return folder_sha256(folder, exclude=(CARD,))
