"""What differs between detection and the other tasks, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from alambique.config import Params
from alambique.errors import ConfigurationError
from alambique.layout import Candidate

Metrics = dict[str, Any]
"""Goes to a metrics file: numbers and strings by name, two levels of nesting at most."""


class Interval(NamedTuple):
    """A difference in the task's headline metric, and the 95 % interval that it lies in.

    Attributes:
        value: mean over the seeds, on the test images as they are.
        low, high: over other images like these, and over other seeds if there are several.
        seeds, images: how many it was computed from.
    """

    value: float
    low: float
    high: float
    seeds: int
    images: int


class Observed(NamedTuple):
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

    Every method reads the project at `project`, writes the stage's files into the empty folder `target` (which becomes
    the stage's out only if the method returns), and returns the stage's metrics.
    """

    def teacher(self, project: Path, params: Params, name: str, target: Path) -> Metrics:
        """Train or take a teacher: weights.pt, card.json, curves.csv."""

    def soft_labels(self, project: Path, params: Params, shard: int, target: Path) -> Metrics:
        """Run the teachers over one shard of the train and unlabelled images: soft_labels.arrow, manifest.json."""

    def distill(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        """Train a student from labels and soft labels: weights.pt, card.json, curves.csv."""

    def control(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        """Train the same student, from the same start, for as many steps, without the teacher."""

    def search(self, project: Path, params: Params, target: Path) -> Metrics:
        """Find the combination that meets `params.budget`, which asks for something: choice.json."""

    def prune(self, project: Path, params: Params, student: str, target: Path) -> Metrics:
        """Remove channels of the first seed's distilled student and recover by distillation."""

    def export(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        """Export the pruned student in FP32: the runtime's files, card.json."""

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        """Why each of these runtimes' files cannot be made on this machine; those that can are left out."""

    def quantize(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        """Quantize the pruned student to INT8: the runtime's files, card.json."""

    def evaluate(self, project: Path, params: Params, subject: str, target: Path) -> Metrics:
        """Measure a subject on the test split, a candidate on its own runtime: images.arrow."""

    def gain(self, first: Sequence[Path], second: Sequence[Path]) -> Interval:
        """The headline metric of `first` minus that of `second`, paired over seeds and test images.

        Args:
            first, second: folders of evaluations, one a seed, those of a seed at the same place.
        """

    def intervals(
        self, evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Interval]:
        """The headline metric of the first of each pair minus that of the second, paired over test images.

        Args:
            evaluations: folders of evaluations by name; all are resampled alike, so that another pair costs nothing.
            pairs: two of these names each.
        """

    def agreement(self, first: Path, second: Path, params: Params) -> float | None:
        """How far two subjects agree on images from the field, 0 to 1; None where there are none.

        Args:
            first, second: folders of their evaluations.
        """

    def observe(self, checkpoint: Path, images: Sequence[Path], params: Params) -> Observed:
        """What the checkpoint in a folder makes of some images, for `drift` to compare."""

    def headline(self, evaluation: Path) -> Interval:
        """The headline metric of one evaluation, over other images like these; see `evaluate`."""

    def runner(self, folder: Path, image_size: int, threads: int) -> Callable[[], None]:
        """A candidate's inference on one image of noise, loaded and ready, for `benchmark` to time."""


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


def load(name: str) -> Task:
    """The task named in params.yaml, imported when it is needed."""
    match name:
        case "detect":
            from alambique.tasks.detect import DETECT

            return DETECT
    raise ValueError(name)
