"""What the tasks of texts share of the protocol: the dataset, the Hugging Face folder, training, serving."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.tasks.base import Ability, Calibration, Card, DriftFeatures, PruningPlans

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

    from alambique.runtimes.base import Program
    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.training_loop import Measure, TrainingObjective
    from alambique.tasks.transformers.checkpoint import Network
    from alambique.tasks.transformers.dataset import Texts
    from alambique.tasks.transformers.importance import Batches


class TransformersTask(ABC):
    """The part of `alambique.tasks.base.Task` that does not depend on what a network predicts."""

    name: ClassVar[str]
    samples: ClassVar[str] = "texts"
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def dataset(self, root: Path) -> Texts:
        from alambique.tasks.transformers.dataset import Texts

        return Texts.load(root)

    # Networks

    @abstractmethod
    def load(self, folder: Path) -> Network:
        """See `alambique.tasks.base.Task.load`."""

    @abstractmethod
    def load_weights(
        self, folder: Path, tokenizer: PreTrainedTokenizerFast, dataset: Texts, params: Any, seed: int
    ) -> Network:
        """The network in a Hugging Face folder from outside.

        Args:
            folder: untrusted.
            tokenizer: of the folder.
            seed: of layers that it lacks.
        Raises:
            DataError: the folder holds no such network in safetensors.
            ConfigurationError: it cannot take texts of `params.input_size`.
        """

    @abstractmethod
    def tokenizer(self, dataset: Texts, weights: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
        """The tokenizer of given weights, or else one trained on the dataset's texts.

        Args:
            weights: a Hugging Face folder.
            vocabulary: tokens of one that is trained.
        """

    def copy_weights(self, weights: Path, teacher: Any, dataset: Texts, params: Any, folder: Path) -> None:
        """Copy a Hugging Face folder as it is, but for a chat template that it lacks and the dataset needs."""
        from alambique.tasks.transformers import checkpoint

        tokenizer = self.tokenizer(dataset, weights, params.training.vocabulary)
        self.load_weights(weights, tokenizer, dataset, params, params.seed)
        checkpoint.copy(weights, tokenizer, folder)

    def save(self, network: Network, folder: Path, params: Any) -> None:
        from alambique.tasks.transformers import checkpoint

        checkpoint.save(network, folder)

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        from alambique.tasks.transformers import checkpoint

        network = self.load(folder)
        return {
            **checkpoint.describe(folder, network),
            "max_tokens": params.input_size,
            **self.describe_network(network, params.input_size),
        }

    @abstractmethod
    def describe_network(self, network: Network, max_tokens: int) -> dict[str, Any]:
        """A card's macs, network (its sizes), and classes.

        Args:
            max_tokens: of a text.
        """

    def module(self, network: Network) -> nn.Module:
        return network.model

    # Training

    def pretrain(self, network: Network, dataset: Texts, teacher: Any, params: Any) -> PriorTraining:
        from alambique.tasks.trainer_state import NO_PRIOR

        return NO_PRIOR

    def train(
        self,
        network: Network,
        objective: TrainingObjective,
        dataset: Texts,
        params: Any,
        folder: Path,
        *,
        epochs: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        """Train all weights, or with `network.lora` adapters alone, which are merged before the weights are saved."""
        from alambique.tasks import training_loop
        from alambique.tasks.transformers import adapters

        module: nn.Module = network.model
        if network.lora:
            module = adapters.adapt(network.model, network.lora, seed)
        metrics = training_loop.train(
            module,
            objective,
            folder,
            epochs=epochs,
            training=params.training,
            seed=seed,
            measure=self.measure_in_training(dataset, network.tokenizer, params.input_size),
            prior=prior,
        )
        if network.lora:
            network = network._replace(model=adapters.merge(module))
        self.save(network, folder, params)
        return metrics

    @abstractmethod
    def measure_in_training(self, dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
        """Measures a network on val: `Params.HEADLINE`, and first what decides when training stops."""

    def measure_val(self, folder: Path, dataset: Texts, params: Any) -> Metrics:
        network = self.load(folder)
        return {**self.measure_in_training(dataset, network.tokenizer, params.input_size)(network.model)}

    def train_int8(
        self,
        network: Network,
        objective: TrainingObjective,
        calibration: Calibration,
        dataset: Texts,
        params: Any,
        runtime: str,
        folder: Path,
    ) -> None:
        raise ConfigurationError(f"quantize.qat_epochs: {self.name} has no quantization-aware training")

    # Pruning

    def pruning_plans(
        self,
        network: Network,
        dataset: Texts,
        params: Any,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        from alambique.tasks.transformers.structured_pruning import choose

        plans = [list(choose(network.model, params.prune.how, ratio, params.input_size)) for ratio in ratios]
        return PruningPlans(plans)

    def prune(self, network: Network, full: Network, plan: Sequence[int], dataset: Texts, params: Any) -> Network:
        from alambique.tasks.transformers import structured_pruning

        batches = self.importance_batches(network, dataset, params)
        scores = structured_pruning.measure_importance(network.model, batches)
        smaller = structured_pruning.cut(network.model, structured_pruning.Sizes(*plan), scores)
        return network._replace(model=smaller)

    @abstractmethod
    def importance_batches(self, network: Network, dataset: Texts, params: Any) -> Batches:
        """The first texts of train, on which `importance.measure` runs the network."""

    # Export and serving

    def example(self, card: Card, runtime: str) -> str:
        from alambique.runtimes import examples

        return examples.render(runtime, Path(__file__).parent / "examples" / self.name)

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        from_graph = runtime in ("onnx", "openvino")
        return ("transformers", "onnxscript") if from_graph else ("transformers",)

    def open(self, folder: Path, threads: int) -> Program:
        """A candidate, verified, on its own runtime."""
        from alambique import runtimes
        from alambique.tasks.cards import read_card

        card = read_card(folder)
        return runtimes.load(card["runtime"]).open(folder / card["file"], threads)

    @abstractmethod
    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        """See `alambique.tasks.base.Task.predictor`."""

    # What other tasks have

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        return None

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        raise ConfigurationError(f"drift: {self.name} cannot tell drifted production data yet")
