"""What the tasks of texts share of the protocol: the dataset, the Hugging Face folder, training, serving."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from alambique.data.dataset import SPLITS
from alambique.errors import ConfigurationError, DataError
from alambique.tasks import transformers
from alambique.tasks.base import Card, PruningPlans
from alambique.tasks.torch_task import TorchTask

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from alambique.report.thumbnails import LabelledSample
    from alambique.tasks.transformers.checkpoint import Network
    from alambique.tasks.transformers.dataset import Texts
    from alambique.tasks.transformers.narrowing import Student
    from alambique.tasks.transformers.prunable import Batches, Sizes


class TransformersTask(TorchTask):
    """The part of `alambique.tasks.Task` that does not depend on what a network predicts."""

    samples: ClassVar[str] = "texts"

    def dataset(self, root: Path) -> Texts:
        return transformers.dataset.Texts.load(root)

    def labelled_samples(self, dataset: Texts) -> Callable[[str], LabelledSample]:
        from alambique.report.thumbnails import LabelledSample

        texts = {
            line.name: transformers.dataset.written(line.text)
            for split in SPLITS
            for line in dataset.lines(split)
            if line.text is not None
        }
        return lambda path: LabelledSample(text=texts.get(path, ""))

    # Networks

    @abstractmethod
    def read_model(self, folder: Path, classes: list[str] | None = None, seed: int = 0) -> PreTrainedModel:
        """The model in an untrusted Hugging Face folder.

        Args:
            classes: that it is to predict; None: its own.
            seed: of layers that it lacks.
        Raises:
            DataError: the folder holds no such network in safetensors.
        """

    def load(self, folder: Path) -> Network:
        return transformers.checkpoint.Network(
            self.read_model(folder / transformers.checkpoint.MODEL), transformers.checkpoint.load_tokenizer(folder)
        )

    def load_weights(
        self, folder: Path, tokenizer: PreTrainedTokenizerFast, dataset: Texts, params: Any, seed: int
    ) -> Network:
        """The network in a Hugging Face folder from outside.

        Raises:
            DataError: the folder holds no such network in safetensors.
            ConfigurationError: it cannot take texts of `params.input_size`.
        """
        model = self.read_model(folder, dataset.classes, seed)
        transformers.checkpoint.require_fit(model, folder, tokenizer, params.input_size)
        return transformers.checkpoint.Network(model, tokenizer)

    def student_from(self, weights: Network, student: Student, dataset: Texts, params: Any) -> Network:
        """A network of the sizes that a student asks for, narrowed where the given one is larger.

        Raises:
            ConfigurationError: see `narrowing.student_sizes`.
        """
        kept = transformers.narrowing.student_sizes(weights.model, student)
        if kept is None or kept == transformers.prunable.sizes(weights.model):
            return weights
        return self._cut(weights, kept, dataset, params)

    @abstractmethod
    def tokenizer(self, dataset: Texts, weights: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
        """The tokenizer of a folder of Hugging Face's, or else one of `vocabulary` tokens, trained on the texts."""

    def require_weights(self, weights: Path) -> None:
        if not weights.is_dir():
            raise DataError(
                f"cannot use {weights}: it is a file; give the Hugging Face folder of a model in safetensors"
            )

    def weights_of(self, folder: Path) -> Path:
        return folder / transformers.checkpoint.MODEL

    def copy_weights(self, weights: Path, teacher: Any, dataset: Texts, params: Any, folder: Path) -> None:
        """Copy a Hugging Face folder as it is, but for a chat template that it lacks and the dataset needs."""
        tokenizer = self.tokenizer(dataset, weights, params.training.vocabulary)
        self.load_weights(weights, tokenizer, dataset, params, params.seed)
        shutil.copytree(weights, folder / transformers.checkpoint.MODEL)
        if transformers.tokenizers.load(weights).chat_template != tokenizer.chat_template:
            tokenizer.save_pretrained(folder / transformers.checkpoint.MODEL)

    def save(self, network: Network, folder: Path, params: Any) -> None:
        transformers.checkpoint.save(network, folder)

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        network = self.load(folder)
        return {
            **transformers.checkpoint.describe(folder, network),
            "max_tokens": params.input_size,
            **self.describe_network(network, params.input_size),
        }

    @abstractmethod
    def describe_network(self, network: Network, max_tokens: int) -> dict[str, Any]:
        """A card's macs, network (its sizes), and classes."""

    # Training

    def trained_module(self, network: Network, seed: int) -> nn.Module:
        """All weights, or with `network.lora` adapters alone, which are merged before the weights are saved."""
        if network.lora is None:
            return network.model
        import torch

        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise ConfigurationError('lora: peft cannot be imported; run `pip install "alambique[text]"`') from None
        how = network.lora
        settings = LoraConfig(r=how.rank, lora_alpha=how.alpha, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapted: nn.Module = get_peft_model(network.model, settings)
        return adapted

    def finished(self, network: Network, module: Any) -> Network:
        return network._replace(model=module.merge_and_unload().requires_grad_(True)) if network.lora else network

    # Pruning

    def pruning_plans(
        self,
        network: Network,
        dataset: Texts,
        params: Any,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        plans = [
            list(transformers.structured_pruning.choose(network.model, params.prune.how, ratio, params.input_size))
            for ratio in ratios
        ]
        return PruningPlans(plans)

    def prune(self, network: Network, full: Network, plan: Sequence[int], dataset: Texts, params: Any) -> Network:
        return self._cut(network, transformers.prunable.Sizes(*plan), dataset, params)

    def _cut(self, network: Network, kept: Sizes, dataset: Texts, params: Any) -> Network:
        """The network of the kept sizes with the parts that matter most to the first texts of train."""
        scores = transformers.prunable.measure_importance(
            network.model, self.importance_batches(network, dataset, params)
        )
        return network._replace(model=transformers.structured_pruning.cut(network.model, kept, scores))

    @abstractmethod
    def importance_batches(self, network: Network, dataset: Texts, params: Any) -> Batches:
        """The first texts of train, on which `measure_importance` runs the network."""

    # Export and serving

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        from_graph = runtime in ("onnx", "openvino")
        return ("transformers", "onnxscript") if from_graph else ("transformers",)
