"""What differs between detection and the other tasks, behind one protocol.

Adding a task is a folder here which implements `Task`, with a params.yaml for new projects, and its sections in
`alambique.config`: no stage, operator or gate knows one task from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from alambique import config
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.layout import Candidate

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture


class Facts(NamedTuple):
    """A dataset's facts as tables, and what it promises of them.

    Attributes:
        tables: by name, with a column `path` that names a row to people.
        contract: Great Expectations' expectations on each table.
        counts: for the metrics of `validate`: how many samples each split holds, how many labels each class, ...
    """

    tables: Mapping[str, pd.DataFrame]
    contract: Mapping[str, list[Any]]
    counts: Metrics


class Data(Protocol):
    """A dataset in the task's layout, read-only."""

    @property
    def classes(self) -> list[str]:
        """Names in index order; none where the task has no classes."""

    def has(self, split: str) -> bool:
        """Whether the dataset has this split: train, val, test or unlabelled."""

    def digest(self, split: str) -> str:
        """sha256 over all of a split that a result can depend on."""


Tensors = list[tuple[str, list[int]]]
"""NumPy's name of a type and the shape, −1 where it is free, of each tensor."""

Ability = Literal["search", "ingest", "drift"]
"""What a task may do beyond the pipeline: find what meets a budget, take in new data, tell drifted production data."""


class DriftFeatures(NamedTuple):
    """What a network makes of n images, in numbers by which two sets of images can be compared.

    Attributes:
        embeddings: of each image, (n, d).
        numbers: of each image by name, as in "confidence", (n,).
        counts: how often each class is predicted in each image, (n, classes).
        classes: their names.
        uncertainty: of each image's predictions, 0 to 1, (n,).
    """

    embeddings: NDArray[np.float64]
    numbers: dict[str, NDArray[np.float64]]
    counts: NDArray[np.float64]
    classes: list[str]
    uncertainty: NDArray[np.float64]


class Task(Protocol):
    """How one task does each stage's work.

    The methods of stages read the project at `project`, write the stage's files into the empty folder `target` (which
    becomes the stage's out only if the method returns), and return the stage's metrics. All `params` are of the task's
    own class, see `config.TASKS`.

    Attributes:
        about: what its students do, in a few words.
        samples: what a dataset consists of, in the plural: images, texts.
        measures: the figures of its evaluations by their names in metrics files, `Params.HEADLINE` first.
        by_class: the measures that evaluations give for each class of the dataset.
        methods: what `distill.method` may be.
        abilities: what it can do beyond the pipeline.
    """

    about: ClassVar[str]
    samples: ClassVar[str]
    measures: ClassVar[Mapping[str, Measure]]
    by_class: ClassVar[Mapping[str, Measure]]
    methods: ClassVar[tuple[str, ...]]
    abilities: ClassVar[frozenset[Ability]]

    def adopt(self, source: str, target: Path) -> None:
        """Copy a dataset as people have it into the task's layout, `target`, which is made.

        Raises:
            DataError: what is wrong with it, and where.
        """

    def data(self, root: Path) -> Data:
        """The dataset in the folder `root`.

        Raises:
            DataError: there is none in the task's layout.
        """

    def facts(self, root: Path, params: Any) -> Facts:
        """What there is to judge about the dataset in `root`. What is broken becomes a row that says so."""

    def teacher(self, project: Path, params: Any, name: str, target: Path) -> Metrics:
        """Train or take a teacher: weights.pt, card.json, curves.csv."""

    def soft_labels(self, project: Path, params: Any, shard: int, target: Path) -> Metrics:
        """Run the teachers over one shard of the train and unlabelled images: soft_labels.arrow, manifest.json."""

    def distill(self, project: Path, params: Any, student: str, seed: int, target: Path) -> Metrics:
        """Train a student from labels and soft labels: weights.pt, card.json, curves.csv."""

    def control(self, project: Path, params: Any, student: str, seed: int, target: Path) -> Metrics:
        """Train the same student, from the same start, for as many steps, without the teacher."""

    def search(self, project: Path, params: Any, target: Path) -> Metrics:
        """Find the combination that meets `params.budget`, which asks for something: choice.json."""

    def prune(self, project: Path, params: Any, student: str, target: Path) -> Metrics:
        """Remove channels of the first seed's distilled student and recover by distillation."""

    def export(self, project: Path, params: Any, candidate: Candidate, target: Path) -> Metrics:
        """Export the pruned student in FP32: the runtime's files, card.json."""

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        """Why each of these runtimes' files cannot be made on this machine; those that can are left out."""

    def quantize(self, project: Path, params: Any, candidate: Candidate, target: Path) -> Metrics:
        """Quantize the pruned student to INT8: the runtime's files, card.json."""

    def evaluate(self, project: Path, params: Any, subject: str, target: Path) -> Metrics:
        """Measure a subject on the test split, a candidate on its own runtime: images.arrow."""

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        """The headline metric of some evaluations on resamples of the test samples; see `evaluation.paired_bootstrap`.

        Raises:
            DataError: they are not about the same samples.
            IntegrityError: another version wrote one.
        """

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        """How far two subjects agree on images from the field, 0 to 1; None where there are none.

        Args:
            first, second: folders of their evaluations.
        """

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        """What the checkpoint in a folder makes of some images, for `drift` to compare."""

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        """Test samples for the report, with what the teacher, the control and the best candidate make of each."""

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        """What else to show of the best candidate: titles, and <svg> elements made as in `report.plots`."""

    def relative(self, subject: Path, teacher: Path, params: Any) -> Metrics:
        """The `measures` of a subject that need the most accurate teacher's answers beside its own.

        Args:
            subject, teacher: folders of their evaluations, both of today's test split.
        """

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        """Print what the cache of soft labels holds, and write a page about it to `output`."""

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        """Print what the teachers know about one sample of the cache, beyond its label."""

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        """What `predictor` takes and gives for the artifact of this card: for MLflow's signature."""

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        """A candidate, verified, loaded and ready: from its input tensors, in order, to its answer."""

    def runner(self, folder: Path, threads: int) -> Callable[[], None]:
        """A candidate's inference on one input of noise, loaded and ready, for `benchmark` to time."""


def require_available(task: Task, runtimes: Iterable[str]) -> None:
    """Refuse, before any work, runtimes whose files cannot be made on this machine.

    Raises:
        ConfigurationError: there are such; the message holds each one's reason.
    """
    if reasons := task.unavailable(runtimes):
        listed = "\n".join(f"- {runtime}: {reason}" for runtime, reason in reasons.items())
        raise ConfigurationError(
            f"runtimes: these cannot be made here; take them out of params.yaml, or change the reason:\n{listed}"
        )


def require(name: str, ability: Ability) -> None:
    """Refuse what a task cannot do.

    Raises:
        ConfigurationError: it cannot.
    """
    if ability not in load(name).abilities:
        able = [each for each in TASKS if ability in load(each).abilities]
        raise ConfigurationError(f"task: {name} has no `{ability}` yet; {', '.join(able)} have")


TASKS = tuple(config.TASKS)


def load(name: str) -> Task:
    """The task named in params.yaml, imported when it is needed."""
    match name:
        case "detect":
            from alambique.tasks.detect import DETECT

            return DETECT
        case "classify":
            from alambique.tasks.classify import CLASSIFY

            return CLASSIFY
        case "text":
            from alambique.tasks.text import TEXT

            return TEXT
        case "text_classify":
            from alambique.tasks.text_classify import TEXT_CLASSIFY

            return TEXT_CLASSIFY
        case "segment" | "pose" | "obb":
            from alambique.tasks import heads

            return {"segment": heads.SEGMENT, "pose": heads.POSE, "obb": heads.OBB}[name]
    raise ValueError(name)
