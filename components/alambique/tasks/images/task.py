"""The task `classify`: image classifiers over the primitives of `alambique.tasks.Task`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique import runtimes
from alambique.config.classify import Network, Params, Teacher
from alambique.evaluation.measures import Metrics
from alambique.files import read_json, sha256
from alambique.layout import CARD, WEIGHTS
from alambique.runtimes.base import Exportable, Quantization, StaticInt8, TensorSpec, Validation, WeightOnly
from alambique.tasks import classifiers, images
from alambique.tasks.base import Calibration, Card, Facts, PruningPlans, TensorTypes
from alambique.tasks.classifiers.task import ClassifierTask

if TYPE_CHECKING:
    import onnx
    from markupsafe import Markup
    from torch import Tensor

    from alambique.report.thumbnails import LabelledSample
    from alambique.softlabels.reader import Cache
    from alambique.tasks.classifiers.evaluation import Sample
    from alambique.tasks.classifiers.soft_labels import ClassLabels
    from alambique.tasks.classifiers.validation import Val
    from alambique.tasks.images.dataset import Dataset
    from alambique.tasks.images.network import ClassifierNetwork
    from alambique.tasks.images.soft_labels import ViewRecipe
    from alambique.tasks.training_loop import TrainingObjective


LIBRARIES = {"yolo26-cls": "ultralytics", "torchvision": "torchvision", "timm": "timm"}
"""The distribution that each family of networks is built from."""
EXPORTERS = ("onnxscript", "onnxslim")
"""Distributions with a part in the ONNX graph."""
OPSET = 18
"""ONNX Runtime's static quantization refuses 21 and above."""

CONVOLUTIONAL = ("Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split")
"""With the convolutions alone in INT8, every activation would be converted to float and back: no faster than FP32."""
OPERATORS = (*CONVOLUTIONAL, "Gemm", "MatMul", "GlobalAveragePool", "ReduceMean", "HardSigmoid", "HardSwish")
"""Computed in INT8 by ONNX Runtime; the logits, too, of which only the order and the rough distance count."""


class Classify(ClassifierTask):
    """See `alambique.tasks.Task`."""

    name: ClassVar[str] = "classify"
    about: ClassVar[str] = "tell classes of images apart: YOLO26-cls, torchvision, timm"
    samples: ClassVar[str] = "images"
    # Datasets

    def import_dataset(self, source: str, target: Path, params: Params) -> None:
        images.import_dataset.import_dataset(source, target)

    def dataset(self, root: Path) -> Dataset:
        return images.dataset.Dataset.load(root)

    def facts(self, root: Path, params: Params) -> Facts:
        return images.contract.facts(self.dataset(root), params.validation.min_images_per_class)

    # Networks

    def build(
        self, architecture: Network, dataset: Dataset, params: Params, *, seed: int, weights: Path | None
    ) -> ClassifierNetwork:
        built = images.network.build(architecture, dataset.classes, seed)
        if weights is not None:
            images.weights.load_matching(built, weights)
        return built

    def networks_from(self, weights: Path) -> None:
        images.weights.read(weights)  # refuses what cannot be read

    def copy_weights(self, weights: Path, teacher: Teacher, dataset: Dataset, params: Params, folder: Path) -> None:
        self.save(images.weights.load_all(teacher.network, dataset.classes, weights), folder, params)

    def load(self, folder: Path) -> ClassifierNetwork:
        return images.network.load(folder / WEIGHTS)

    def save(self, network: ClassifierNetwork, folder: Path, params: Params) -> None:
        images.network.save(network, folder / WEIGHTS)

    def describe(self, folder: Path, params: Params) -> dict[str, Any]:
        network, weights = self.load(folder), folder / WEIGHTS
        return {
            "network": network.architecture.model_dump(mode="json"),
            "sha256": sha256(weights),
            "parameters": images.network.parameters(network.model),
            "macs": images.network.macs(network.model, params.input_size),
            "size_bytes": weights.stat().st_size,
            "image_size": params.input_size,
            "classes": network.classes,
        }

    # Training

    def label_objective(self, network: ClassifierNetwork, dataset: Dataset, params: Params) -> TrainingObjective:
        return images.objectives.by_labels(dataset, params.input_size, params.training.augment)

    def distillation_objective(
        self,
        network: ClassifierNetwork,
        dataset: Dataset,
        params: Params,
        cache: Cache[ClassLabels],
        teachers: Sequence[Path],
    ) -> TrainingObjective:
        recipe = self.soft_label_recipe([read_json(folder / CARD) for folder in teachers], dataset, params)
        return images.objectives.by_soft_labels(dataset, cache, recipe, params.distill)

    def val(self, network: ClassifierNetwork, dataset: Dataset, params: Params) -> Val:
        return images.objectives.val(dataset, params.input_size)

    # Soft labels

    def recipe_type(self) -> type[ViewRecipe]:
        return images.soft_labels.ViewRecipe

    def soft_label_recipe(self, cards: Sequence[Card], dataset: Dataset, params: Params) -> ViewRecipe:
        return images.soft_labels.ViewRecipe(
            **classifiers.soft_labels.base_recipe(cards, dataset, params, dataset.classes),
            preprocessing=images.preprocess.DESCRIPTION,
            image_size=cards[0]["image_size"],
            views=params.soft_labels.views,
            augment=params.soft_labels.augment,
        )

    def soft_labels(
        self, teachers: Sequence[Path], dataset: Dataset, params: Params, recipe: Any, shard: int
    ) -> Iterator[ClassLabels]:
        views = images.soft_labels.views_of_all(dataset, recipe)
        order = sorted(range(len(views)), key=views.names.__getitem__)
        models = [self.load(folder).model for folder in teachers]
        return images.soft_labels.label_views(models, views, order[shard :: len(params.soft_labels.shards)], recipe)

    # Pruning

    def pruning_plans(
        self,
        network: ClassifierNetwork,
        dataset: Dataset,
        params: Params,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        (ratio,) = ratios
        full = images.structured_pruning.prepared(
            network, params.prune.importance, dataset, params.input_size, params.seed
        )
        return PruningPlans(
            [images.structured_pruning.channel_ratio(full, ratio, params.prune.importance, params.input_size)]
        )

    def prune(
        self, network: ClassifierNetwork, full: ClassifierNetwork, plan: float, dataset: Dataset, params: Params
    ) -> ClassifierNetwork:
        whole = images.structured_pruning.prepared(
            network, params.prune.importance, dataset, params.input_size, params.seed
        )
        return images.structured_pruning.without_channels(whole, plan, params.prune.importance, params.input_size)

    def removed(self, full: ClassifierNetwork, pruned: ClassifierNetwork, params: Params) -> Metrics:
        before, after = (images.network.macs(network.model, params.input_size) for network in (full, pruned))
        return {"importance": params.prune.importance, "target": "macs", "removed": 1 - after / before}

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        import onnxslim
        import torch

        from alambique.runtimes.torch_graph import to_onnx

        model, size = self.load(folder).model.requires_grad_(False), read_json(folder / CARD)["image_size"]
        example = (torch.zeros(1, 3, size, size),)
        inputs, outputs = ("images",), ("logits",)

        def graph() -> onnx.ModelProto:
            slim: onnx.ModelProto = onnxslim.slim(to_onnx(model, example, inputs, outputs, OPSET))
            return slim

        return Exportable(graph, lambda _: model, example, OPSET, inputs, outputs)

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        image, logits = (tensor._asdict() for tensor in tensors)
        return {
            "image_size": card["image_size"],
            "input": image,
            "output": {**logits, "about": "logits in the order of `classes`; their softmax are the probabilities"},
            "preprocessing": images.preprocess.DESCRIPTION,
        }

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        library = LIBRARIES[card["network"]["family"]]
        return (library, *EXPORTERS) if runtimes.load(runtime).from_graph else (library,)

    def calibration(self, folder: Path, dataset: Dataset, params: Params) -> Calibration:
        return images.preprocess.calibration(
            dataset, params.quantize.images, read_json(folder / CARD)["image_size"], params.seed
        )

    def quantization(self, runtime: str, calibration: Calibration, params: Params) -> Quantization:
        """Static INT8 where the runtime has a tool for it, otherwise weights alone."""
        if StaticInt8 in runtimes.load(runtime).quantizations:
            return StaticInt8(calibration.inputs, OPERATORS)
        return WeightOnly(8)

    def validation(self, folder: Path, dataset: Dataset, params: Params) -> Validation:
        # Val is measured many times: its images are read once, and kept as bytes.
        size = read_json(folder / CARD)["image_size"]
        return classifiers.evaluation.validation(
            [
                classifiers.evaluation.Sample(
                    dataset.inside(image),
                    dataset.label(image),
                    partial(images.preprocess.network_input, images.preprocess.square(image, size)),
                )
                for image in dataset.require("val")
            ]
        )

    # Measuring

    def labelled(self, folder: Path, dataset: Dataset, split: str) -> list[Sample]:
        size = read_json(folder / CARD)["image_size"]
        return [
            classifiers.evaluation.Sample(
                dataset.inside(image), dataset.label(image), partial(images.preprocess.preprocess, image, size)
            )
            for image in dataset.require(split)
        ]

    def forward(self, network: ClassifierNetwork) -> Callable[..., tuple[Tensor]]:
        return lambda images: (network.model(images),)

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        size = card["image_size"]
        return (np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32),)

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        # The same on every runtime, whatever the shapes that the artifact itself works with.
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, len(card["classes"])])]

    def labels(self, dataset: Dataset) -> Mapping[str, str]:
        return {dataset.inside(image): dataset.class_of(image) for image in dataset.images("train")}

    def shown(self, dataset: Dataset) -> Callable[[str], Markup]:
        from alambique.report.pictures import load, shown

        return lambda name: shown(load(dataset.root / "images" / name), name)

    def labelled_samples(self, dataset: Dataset) -> Callable[[str], LabelledSample]:
        from alambique.report.thumbnails import LabelledSample

        return lambda path: LabelledSample(dataset.root / path)


CLASSIFY = Classify()
