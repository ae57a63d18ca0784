"""The first half of a task's protocol: how one of its networks is built, trained, narrowed, exported and measured.

A stage (`alambique.stages`) decides what is done with a network and in which order, once for all tasks. A task brings
these primitives and no stage.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numpy.typing import NDArray

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import WEIGHTS
from alambique.runtimes import examples
from alambique.runtimes.base import Exportable, Program, Quantization, TensorSpec, Validation
from alambique.tasks import weight_files
from alambique.tasks.base import Calibration, Card, Dataset, Facts, Measurement, Network, Objective, PruningPlans

if TYPE_CHECKING:
    from torch import nn

    from alambique.softlabels.reader import Cache
    from alambique.softlabels.schema import Recipe
    from alambique.tasks.trainer_state import PriorTraining


class Primitives(Protocol):
    """What stages do with a task's networks. All `params` are of the task's own class, see `config.TASKS`.

    Folders are of checkpoints (weights, card.json, curves.csv) or candidates (artifact, card.json, example.py). Tasks
    name the modules of their folder as `yolo.network`, which imports them when a method first needs them.
    """

    name: ClassVar[str]

    # Datasets

    def import_dataset(self, source: str, target: Path, params: Any) -> None:
        """Copy a dataset from a format that people use into the task's layout at `target`, which is made.

        What is left out is named in the log. Splits that are made here keep the contract of `params`.

        Raises:
            DataError: what is wrong with it, and where.
        """

    def dataset(self, root: Path) -> Dataset:
        """The dataset in the folder `root`; a DataError if there is none in the task's layout."""

    def facts(self, root: Path, params: Any) -> Facts:
        """The facts that the data contract judges. What is broken becomes a row that says so."""

    # Networks

    def build(self, architecture: Any, dataset: Any, params: Any, *, seed: int, weights: Path | None) -> Network:
        """A network to train that predicts the dataset's classes (or tokens).

        Args:
            architecture: a section of `params.networks`, or `params.teacher[…].network`; None: that of the weights.
            seed: equal seeds give equal weights; the global generator is left as it was.
            weights: file or folder from outside, untrusted, or of a teacher (`weights_of`); those of a larger network
                of the same family are narrowed, the most important channels first. None: initialised at random.
        Raises:
            DataError: the weights cannot be read, or cannot be narrowed to the architecture; the message says why.
            ConfigurationError: there is no such architecture.
        """

    def copy_weights(self, weights: Path, teacher: Any, dataset: Any, params: Any, folder: Path) -> None:
        """Write given weights into `folder` as a checkpoint that is used as it is: byte by byte where that is possible.

        Raises:
            DataError: they cannot be read, or lack one of the dataset's classes.
        """

    def require_weights(self, weights: Path) -> None:
        """Refuse weights from outside that are in no format of the task, by their names and first bytes alone.

        Raises:
            DataError: the message says what they are.
        """
        weight_files.require_pytorch(weights)

    def networks_from(self, weights: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """`network` of a teacher with these weights, and that of a student, its `weights` included, which fits it.

        None where the file does not say what it is of, or where a teacher is as its weights are.

        Args:
            weights: file or folder from outside, untrusted.
        Raises:
            DataError: they cannot be read, or are of another task.
        """
        return None

    def weights_of(self, folder: Path) -> Path:
        """The file or folder in a checkpoint's folder that `build` takes as weights."""
        return folder / WEIGHTS

    def load(self, folder: Path) -> Network:
        """The network of a checkpoint, in evaluation mode and FP32, on the CPU; the caller has verified the card."""

    def save(self, network: Network, folder: Path, params: Any) -> None:
        """Write the network's weights into a checkpoint's folder; equal weights give equal bytes."""

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        """A checkpoint's own part of its card: sha256, files, parameters, macs, size_bytes, classes, input size, …"""

    def module(self, network: Network) -> nn.Module:
        """The network as one torch module: its state_dict is all that training changes."""

    # Training

    def label_objective(self, network: Network, dataset: Any, params: Any) -> Objective:
        """Training on the labelled samples alone."""

    def distillation_objective(
        self, network: Network, dataset: Any, params: Any, cache: Cache[Any], teachers: Sequence[Path]
    ) -> Objective:
        """Training by `distill.method`, which is not none: on labels where there are any, and on the teachers.

        Args:
            teachers: folders of their checkpoints, in the order of params.yaml.
        Raises:
            ConfigurationError: the student cannot be compared with the teacher (other tokens).
        """

    def pretrain(self, network: Network, dataset: Any, teacher: Any, params: Any) -> PriorTraining:
        """Train a teacher's network in place without labels, where its section asks for that; else NO_PRIOR."""
        from alambique.tasks.trainer_state import NO_PRIOR

        return NO_PRIOR

    def train(
        self,
        network: Network,
        objective: Objective,
        dataset: Any,
        params: Any,
        folder: Path,
        *,
        steps: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        """Train `network` as it is; write the trained weights and curves.csv into `folder`.

        A state of the same training in $ALAMBIQUE_RESUME is where it begins.

        Args:
            objective: of `label_objective` or `distillation_objective`.
            dataset: its val split is measured at the end, and every `training.val_interval` steps with
                `training.patience`.
            steps: updates by the optimizer, each with `training.batch` samples; fewer where patience ends it.
            prior: trainings of the same stage before this one, whose steps count on.
        Returns:
            val_<measure>, train_<loss>, images (number of samples), steps; with patience best_step, still_improving.
        Raises:
            ConfigurationError: the training diverged, or the distillation loss stays at zero.
        """

    def measure_val(self, folder: Path, dataset: Any, params: Any) -> Metrics:
        """A teacher's figures on val, by which teachers are compared: `Params.HEADLINE`, and what its card keeps.

        The settings of `evaluate` do not matter here: another way to look at test must train no teacher anew.
        """

    # Soft labels

    def soft_label_recipe(self, cards: Sequence[Card], dataset: Any, params: Any) -> Recipe[Any]:
        """What decides the soft labels of today's samples, teachers and parameters.

        Raises:
            IntegrityError: a teacher was trained for other classes.
            ConfigurationError: several teachers cannot be combined.
        """

    def soft_labels(
        self, teachers: Sequence[Path], dataset: Any, params: Any, recipe: Recipe[Any], shard: int
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of one shard of `params.soft_labels.shards`, sorted by sample name, computed as they are read."""

    def shard_metrics(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Metrics:
        """The metrics of a shard, from each row's sample name and `row_totals`."""

    def row_totals(self, row: Any) -> Mapping[str, float]:
        """Numbers of one row of soft labels that `shard_metrics` adds up."""

    # Pruning

    def pruning_plans(
        self,
        network: Network,
        dataset: Any,
        params: Any,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        """How to remove each of the rising `ratios` of the network's `prune.target`.

        A sensitivity from earlier plans for the same network is not measured again.

        Raises:
            ConfigurationError: the last ratio cannot be removed; the message names the nearest one.
        """

    def prune(self, network: Network, full: Network, plan: Any, dataset: Any, params: Any) -> Network:
        """A smaller network with the most important channels, heads or layers of `network`, physically removed.

        Args:
            network: as wide as `full`, or narrowed by an earlier plan; left as it was.
            full: the network that the plans were made for.
            plan: one of `pruning_plans`.
        """

    def removed(self, full: Network, pruned: Network, params: Any) -> Metrics:
        """`target` and the fraction of it that is `removed`, and what else the stage's metrics say of the pruning."""

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        """The network of a verified checkpoint as the runtimes' converters take it."""

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        """The task's part of a candidate's card: input, output and preprocessing in words and numbers.

        Args:
            card: of the checkpoint.
            tensors: inputs, then outputs, as the runtime declared them.
        """

    def copy_beside(self, folder: Path, target: Path) -> None:
        """Write what belongs beside an artifact (a tokenizer) from a checkpoint's folder into the candidate's."""
        return  # the card says all that most artifacts need

    def example(self, card: Card, runtime: str) -> str:
        """A script that uses the candidate of this (finished) card with nothing but the runtime, NumPy and a reader."""
        return examples.render(runtime, Path(inspect.getfile(type(self))).parent / "examples" / self.name)

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        """Distributions with a part in the artifact beside the runtime's: those of the network's library."""

    def calibration(self, folder: Path, dataset: Any, params: Any) -> Calibration:
        """Training samples to calibrate a checkpoint's INT8 on; equal seeds give equal ones.

        Raises:
            DataError: train has too little.
            ConfigurationError: `quantize` asks for too few.
        """

    def quantization(self, runtime: str, calibration: Calibration, params: Any) -> Quantization:
        """How its networks are quantized for a runtime."""

    def validation(self, folder: Path, dataset: Any, params: Any) -> Validation:
        """Measures programs made of a checkpoint on val; a DataError if val has nothing to measure."""

    def train_int8(
        self,
        network: Network,
        objective: Objective,
        calibration: Calibration,
        dataset: Any,
        params: Any,
        runtime: str,
        folder: Path,
    ) -> None:
        """Quantization-aware training: write a checkpoint whose weights survive INT8 into `folder`.

        Called only where `quantize.qat_steps` asks for it.
        """
        raise ConfigurationError(f"quantize.qat_steps: {self.name} has no quantization-aware training")

    # Measuring

    def program(self, folder: Path, threads: int) -> Program:
        """The network of a checkpoint on torch, called as its artifacts are; the caller has verified the card."""

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        """Random inputs of a candidate, for `benchmark` to time; equal for equal cards."""

    def measure(self, folder: Path, program: Program, dataset: Any, split: str, params: Any) -> Measurement:
        """Figures on a split of the verified checkpoint or candidate in `folder`; classes are matched by name.

        Raises:
            DataError: the split is empty, or the network shares no class with the dataset.
        """

    def parity(self, folder: Path, artifact: Program, checkpoint: Program, dataset: Any, params: Any) -> Metrics:
        """How far the output of the candidate in `folder` is from its checkpoint's on the first test samples.

        Returns:
            samples, max_score_difference, max_output_difference (None where there is none), agreement (0 to 1).
        """
