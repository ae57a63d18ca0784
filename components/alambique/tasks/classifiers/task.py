"""What classifiers of images and of texts share of the protocol: all that is done with samples and probabilities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique import config
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.layout import DATA
from alambique.runtimes.base import Program, Validation
from alambique.tasks import classifiers
from alambique.tasks.base import Measurement, Network
from alambique.tasks.classifiers.metrics import BY_CLASS, MEASURES
from alambique.tasks.torch_task import TorchTask

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import Console

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.tasks.classifiers.evaluation import Sample
    from alambique.tasks.classifiers.soft_labels import ClassLabels, ClassRecipe
    from alambique.tasks.classifiers.validation import Val
    from alambique.tasks.training_loop import Measure as TrainingMeasure


class ClassifierTask(TorchTask):
    """The part of `alambique.tasks.Task` that does not depend on what is classified."""

    measures: ClassVar[Mapping[str, Measure]] = MEASURES
    by_class: ClassVar[Mapping[str, Measure]] = BY_CLASS
    methods: ClassVar[tuple[str, ...]] = ("soft", "none")

    @abstractmethod
    def labelled(self, folder: Path, dataset: Any, split: str) -> list[Sample]:
        """A labelled split as the network of a checkpoint or candidate takes it.

        Raises:
            DataError: it is empty, or a sample has no class of the dataset.
        """

    @abstractmethod
    def val(self, network: Network, dataset: Any, params: Any) -> Val:
        """The split val as a network in training takes it.

        Raises:
            DataError: it is empty, or a sample has no class of the dataset.
        """

    @abstractmethod
    def labels(self, dataset: Any) -> Mapping[str, str | None]:
        """The class of each training sample that has one, by the sample's name."""

    @abstractmethod
    def shown(self, dataset: Any) -> Callable[[str], Markup]:
        """From a sample's name to what a page shows of it."""

    @abstractmethod
    def recipe_type(self) -> type[ClassRecipe]:
        """The class of `soft_label_recipe`."""

    # Training

    def measure_in_training(self, network: Network, dataset: Any, params: Any) -> TrainingMeasure:
        return self.val(network, dataset, params).measure

    def calibrate_scores(self, network: Network, dataset: Any, params: Any) -> Metrics:
        """Divide the logits by the temperature that suits val best; see `classifiers.validation`."""
        val, module = self.val(network, dataset, params), self.module(network)
        temperature = val.scale(module)
        return {"temperature": temperature, "val_nll": val.measure(module)["nll"]}

    # Soft labels

    def shard_metrics(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Metrics:
        """Samples and views, and what the teachers gave on average to the likeliest class and to the rest."""
        views = sum(totals["views"] for _, totals in rows)
        return {
            "images": len(rows),
            "unlabelled_images": sum(sample.startswith("unlabelled/") for sample, _ in rows),
            "views": views,
            "mean_confidence": sum(totals["confidence"] for _, totals in rows) / max(views, 1),
            "mean_remaining_mass": sum(totals["remaining_mass"] for _, totals in rows) / max(views, 1),
        }

    def row_totals(self, row: ClassLabels) -> Mapping[str, float]:
        """Number of views, and the sums over them of the likeliest class's probability and of the remaining mass."""
        return {
            "views": len(row.checksums),
            "confidence": float(np.exp(row.log_probabilities[:, 0].astype(float)).sum()),
            "remaining_mass": float(np.exp(row.log_remaining_mass.astype(float)).sum()),
        }

    # Measuring

    def measure(self, folder: Path, program: Program, dataset: Any, split: str, params: Any) -> Measurement:
        return classifiers.evaluation.measure(folder, program, self.labelled(folder, dataset, split), dataset.classes)

    def parity(self, folder: Path, artifact: Program, checkpoint: Program, dataset: Any, params: Any) -> Metrics:
        samples = self.labelled(folder, dataset, "test")[: classifiers.evaluation.PARITY]
        return classifiers.evaluation.parity(
            *(classifiers.evaluation.probabilities(program, samples, folder) for program in (artifact, checkpoint))
        )

    def validation(self, folder: Path, dataset: Any, params: Any) -> Validation:
        return classifiers.evaluation.validation(self.labelled(folder, dataset, "val"))

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        return classifiers.results.resample(evaluations)

    # Serving and showing

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        program = self.open(folder, threads)
        return lambda sample: program(np.asarray(sample))[0]

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        dataset = self.dataset(project / DATA)
        return classifiers.pictures.pictures(project, board, dataset.classes, self.shown(dataset))

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        return classifiers.pictures.plots(project, board)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        dataset = self.dataset(project / DATA)
        labels = classifiers.inspection.read(project, self.recipe_type(), self.labels(dataset), self.measures)
        classifiers.inspection.show(labels, output, self.shown(dataset), console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        params: Any = config.load(project)
        labels = self.labels(self.dataset(project / DATA))
        inspection = classifiers.inspection.read(project, self.recipe_type(), labels, self.measures)
        classifiers.inspection.show_sample(inspection, sample, params.distill.temperature, console)
