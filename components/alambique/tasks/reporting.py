"""The second half of a task's protocol: how its results are compared, shown, inspected and served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numpy.typing import NDArray

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.tasks.base import Ability, Card, DriftFeatures, TensorTypes

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.report.thumbnails import LabelledSample


class Reporting(Protocol):
    """What gates, report, registry and drift detection ask of a task.

    Attributes:
        name: as in params.yaml.
        about: what its students do, in a few words.
        samples: what a dataset consists of, in the plural: images, texts.
        measures: the figures of its evaluations by their names in metrics files, `Params.HEADLINE` first.
        by_class: the measures that evaluations give for each class of the dataset.
        methods: what `distill.method` may be.
        abilities: what it can do beyond the pipeline.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    samples: ClassVar[str]
    measures: ClassVar[Mapping[str, Measure]]
    by_class: ClassVar[Mapping[str, Measure]]
    methods: ClassVar[tuple[str, ...]]
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    # Comparing

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        """The headline metric on bootstrap resamples of the test samples; see `evaluation.paired_bootstrap`.

        Raises:
            DataError: the evaluations are not of the same samples.
            IntegrityError: another version wrote one.
        """

    def relative(self, target: Path, teacher: Path, params: Any) -> Metrics:
        """The measures that compare an evaluation with the teacher's; none for most tasks."""
        return {}

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        """How far two evaluations agree on images from production, 0 to 1; None where there are none."""
        return None

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        """A checkpoint's output on images, for `drift` to compare; see `abilities`."""
        raise ConfigurationError(f"drift: {self.name} cannot tell drifted production data yet")

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        """Inputs and outputs of `predictor`, for MLflow's signature."""

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        """A candidate, verified and opened: from its input tensors, in order, to its decoded output."""

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        """Test samples for the report, with the output of teacher, control and best candidate on each."""

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        """Further plots of the best candidate: titles, and <svg> elements made as in `report.plots`."""
        return []

    def labelled_samples(self, dataset: Any) -> Callable[[str], LabelledSample]:
        """A sample with what people labelled in it, by its `path` in the tables of `facts`; for the dataset's page.

        Labels that cannot be read are left out.
        """

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        """Print a summary of the cache of soft labels, and write a page about it to `output`."""

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        """Print the soft labels of one sample."""
