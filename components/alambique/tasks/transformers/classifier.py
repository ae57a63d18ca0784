"""Classifiers of texts, as of intents or sentiments: any of Hugging Face's encoders as teacher, BERTs as students."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text_classify import Network as Architecture
from alambique.config.text_classify import Params, Student, Teacher
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json
from alambique.layout import CARD, DATA
from alambique.runtimes.base import DynamicInt8, Exportable, Quantization, StaticInt8, TensorSpec
from alambique.tasks import classifiers, transformers
from alambique.tasks.base import Calibration, Card, Facts, TensorTypes
from alambique.tasks.classifiers.task import ClassifierTask
from alambique.tasks.transformers.base import TransformersTask

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import Console
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from alambique.softlabels.reader import Cache
    from alambique.tasks.classifiers.evaluation import Sample
    from alambique.tasks.classifiers.soft_labels import ClassLabels, ClassRecipe
    from alambique.tasks.classifiers.validation import Val
    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.training_loop import TrainingObjective
    from alambique.tasks.transformers.checkpoint import Network
    from alambique.tasks.transformers.dataset import Texts
    from alambique.tasks.transformers.prunable import Batches

CALIBRATION = 128
"""Train texts on which activation ranges are measured, evenly spaced in the split."""


class TextClassify(TransformersTask, ClassifierTask):
    """The task `text_classify`; see `alambique.tasks.Task`."""

    name: ClassVar[str] = "text_classify"
    about: ClassVar[str] = "put texts into classes, as intents or sentiments: BERTs, from any encoder"

    # Datasets

    def import_dataset(self, source: str, target: Path, params: Params) -> None:
        transformers.import_dataset.import_labelled(source, target, params.validation.min_texts_per_class)

    def facts(self, root: Path, params: Params) -> Facts:
        return transformers.contract.labelled_facts(self.dataset(root), params.validation.min_texts_per_class)

    # Networks

    def build(
        self, architecture: Architecture | Student, dataset: Texts, params: Params, *, seed: int, weights: Path | None
    ) -> Network:
        """A teacher is as large as its weights."""
        tokenizer = self.tokenizer(dataset, weights, params.training.vocabulary)
        if weights is not None:
            network = self.load_weights(weights, tokenizer, dataset, params, seed)
            if isinstance(architecture, Student):
                return self.student_from(network, architecture, dataset, params)
            return network
        plain = architecture.network if isinstance(architecture, Student) else architecture
        return transformers.checkpoint.Network(
            transformers.models.build_bert(plain, tokenizer, dataset.classes, params.input_size, seed), tokenizer
        )

    def copy_weights(self, weights: Path, teacher: Teacher, dataset: Texts, params: Params, folder: Path) -> None:
        if (classes := transformers.models.classes_of(weights)) != dataset.classes:
            raise DataError(
                f"{weights} has the classes {classes}, but the dataset's are {dataset.classes}; fine-tune it: "
                "source: train"
            )
        super().copy_weights(weights, teacher, dataset, params, folder)

    def read_model(self, folder: Path, classes: list[str] | None = None, seed: int = 0) -> PreTrainedModel:
        return transformers.models.load_classifier(
            folder, transformers.models.classes_of(folder) if classes is None else classes, seed
        )

    def tokenizer(self, dataset: Texts, weights: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
        """See `TransformersTask.tokenizer`; DataError if a given one has no padding token."""
        if weights is None:
            return transformers.tokenizers.train_wordpiece([text.text for text in dataset.training_texts()], vocabulary)
        tokenizer = transformers.tokenizers.load(weights)
        if tokenizer.pad_token_id is None:
            raise DataError(f"the tokenizer in {weights} has no padding token; give it one, or another model")
        return tokenizer

    def describe_network(self, network: Network, max_tokens: int) -> dict[str, Any]:
        config: Any = network.model.config
        return {
            "macs": transformers.models.macs(network.model, max_tokens),
            "network": {
                "architecture": type(network.model).__name__,
                "layers": config.num_hidden_layers,
                "hidden": config.hidden_size,
                "heads": config.num_attention_heads,
                "ffn": getattr(config, "intermediate_size", None),
            },
            "classes": [config.id2label[index] for index in sorted(config.id2label)],
        }

    # Training

    def label_objective(self, network: Network, dataset: Texts, params: Params) -> TrainingObjective:
        return transformers.class_objectives.by_labels(dataset, network.tokenizer, params.input_size)

    def distillation_objective(
        self,
        network: Network,
        dataset: Texts,
        params: Params,
        cache: Cache[ClassLabels],
        teachers: Sequence[Path],
    ) -> TrainingObjective:
        recipe = self.soft_label_recipe([read_json(folder / CARD) for folder in teachers], dataset, params)
        return transformers.class_objectives.by_soft_labels(
            dataset, network.tokenizer, params.input_size, cache, recipe, params.distill
        )

    def pretrain(self, network: Network, dataset: Texts, teacher: Teacher, params: Params) -> PriorTraining:
        if not teacher.pretrain_steps:
            return super().pretrain(network, dataset, teacher, params)
        return transformers.pretraining.pretrain(network, dataset, params, teacher.pretrain_steps)

    def val(self, network: Network, dataset: Texts, params: Params) -> Val:
        return transformers.class_objectives.val(dataset, network.tokenizer, params.input_size)

    # Soft labels

    def recipe_type(self) -> type[ClassRecipe]:
        return classifiers.soft_labels.ClassRecipe

    def soft_label_recipe(self, cards: Sequence[Card], dataset: Texts, params: Params) -> ClassRecipe:
        preprocessing = {"tokens": [card["max_tokens"] for card in cards], "longer": "cut off"}
        return classifiers.soft_labels.ClassRecipe(
            **classifiers.soft_labels.base_recipe(cards, dataset, params, dataset.classes), preprocessing=preprocessing
        )

    def soft_labels(
        self, teachers: Sequence[Path], dataset: Texts, params: Params, recipe: Any, shard: int
    ) -> Iterator[ClassLabels]:
        return transformers.class_objectives.rows(
            list(map(self.load, teachers)), dataset, recipe, shard, len(params.soft_labels.shards)
        )

    # Pruning

    def importance_batches(self, network: Network, dataset: Texts, params: Params) -> Batches:
        return transformers.encoding.importance_batches(dataset, network.tokenizer, params.input_size)

    def removed(self, full: Network, pruned: Network, params: Params) -> Metrics:
        before, after = (transformers.models.macs(network.model, params.input_size) for network in (full, pruned))
        config = pruned.model.config
        return {
            "how": params.prune.how,
            "target": "macs",
            "removed": 1 - after / before,
            "layers": config.num_hidden_layers,
            "ffn": getattr(config, "intermediate_size", None),
        }

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        return transformers.export.classifier(self.load(folder), read_json(folder / CARD)["max_tokens"])

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        """The runtimes take texts of any length, also where the graph was traced with one of an example's."""
        return {
            "max_tokens": card["max_tokens"],
            "vocabulary": card["vocabulary"],
            "input": {"name": "ids", "type": "int64", "shape": [1, -1], "about": "tokens of one text"},
            "output": {"name": "logits", "type": "float32", "shape": [1, len(card["classes"])]},
            "preprocessing": {"tokenizer": "tokenizer.json", "longer": f"cut off after {card['max_tokens']} tokens"},
        }

    def copy_beside(self, folder: Path, target: Path) -> None:
        """The tokenizer, which truncates texts by itself: whoever uses the artifact has nothing but its file."""
        tokenizer = transformers.checkpoint.load_tokenizer(folder)
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.enable_truncation(read_json(folder / CARD)["max_tokens"])
        tokenizer.save_pretrained(target)

    def calibration(self, folder: Path, dataset: Texts, params: Params) -> Calibration:
        samples = self.labelled(folder, dataset, "train")
        return Calibration([sample.read() for sample in samples[:: -(-len(samples) // CALIBRATION)]], {})

    def quantization(self, runtime: str, calibration: Calibration, params: Params) -> Quantization:
        """ONNX Runtime: activations by each text's own range (dynamic). Others: by their ranges on train texts."""
        if runtime == "onnx":
            return DynamicInt8()
        return StaticInt8(calibration.inputs, operators=(), symmetric=False)

    # Measuring

    def labelled(self, folder: Path, dataset: Texts, split: str) -> list[Sample]:
        tokenizer, max_tokens = transformers.checkpoint.load_tokenizer(folder), read_json(folder / CARD)["max_tokens"]
        texts = transformers.encoding.encode_labelled(dataset, split, tokenizer, max_tokens)
        return [
            classifiers.evaluation.Sample(text.name, text.label, partial(np.expand_dims, text.ids, 0)) for text in texts
        ]

    def forward(self, network: Network) -> Callable[..., tuple[Tensor]]:
        return lambda ids: (transformers.models.class_logits(network.model, ids),)

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        """A text of half the length that is taken at most."""
        return (np.random.default_rng(0).integers(card["vocabulary"], size=(1, card["max_tokens"] // 2)),)

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        return [("int64", [1, -1])], [("float32", [1, len(card["classes"])])]

    def labels(self, dataset: Texts) -> Mapping[str, str | None]:
        return {text.name: text.label for text in dataset.training_texts()}

    def shown(self, dataset: Texts) -> Callable[[str], Markup]:
        from markupsafe import Markup

        texts = {text.name: text.text for text in [*dataset.training_texts(), *dataset.texts("test")]}
        return lambda name: Markup("<p>{}</p>").format(texts.get(name, name))

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        for text in self.dataset(project / DATA).training_texts():
            if text.name == sample:
                console.print(text.text, markup=False, highlight=False)
        super().inspect_sample(project, sample, console)


TEXT_CLASSIFY = TextClassify()
