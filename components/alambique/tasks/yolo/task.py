"""The tasks of this folder over their primitives; what differs between heads is in `network`, `dataset`, `decoding`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique import runtimes
from alambique.data.import_dataset import import_dataset
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.layout import WEIGHTS
from alambique.runtimes.base import Exportable, Program, Quantization, TensorSpec, Validation
from alambique.tasks import Task, weight_files, weight_formats, yolo
from alambique.tasks.base import (
    Ability,
    Calibration,
    Card,
    DriftFeatures,
    Facts,
    Measurement,
    Network,
    Objective,
    PruningPlans,
    TensorTypes,
)
from alambique.tasks.cards import read_card
from alambique.tasks.yolo.measures import BY_CLASS, DETECTION, MASKS, ORIENTED_BOXES, POSES

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.report.thumbnails import LabelledSample
    from alambique.softlabels.reader import Cache
    from alambique.softlabels.schema import Recipe
    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.yolo.dataset import HeadName, YoloDataset
    from alambique.tasks.yolo.matching import Predictor


class Yolo(Task):
    """See `alambique.tasks.Task`; a class below for each head."""

    name: ClassVar[HeadName]
    about: ClassVar[str]
    samples: ClassVar[str] = "images"
    measures: ClassVar[Mapping[str, Measure]]
    by_class: ClassVar[Mapping[str, Measure]] = BY_CLASS
    methods: ClassVar[tuple[str, ...]] = ("feature", "pseudo", "hybrid", "none")

    # Datasets

    def import_dataset(self, source: str, target: Path, params: Any) -> None:
        import_dataset(source, target, self.name)

    def dataset(self, root: Path) -> YoloDataset:
        return yolo.dataset.YoloDataset.load(root, self.name)

    def facts(self, root: Path, params: Any) -> Facts:
        from alambique.data import contract, manifest

        dataset = self.dataset(root)
        tables = manifest.build(dataset)
        suites = contract.suites(len(dataset.classes), params.validation.min_boxes_per_class)
        return Facts(tables.tables, suites, manifest.counts(dataset, tables))

    # Networks

    def build(
        self, architecture: Any, dataset: YoloDataset, params: Any, *, seed: int, weights: Path | None
    ) -> Network:
        if architecture is None and weights is not None:
            architecture = yolo.narrowing.network_of(weights, self.name)
        details = {"data_kpt_shape": list(dataset.kpt_shape)} if self.name == "pose" else {}
        model = yolo.network.build(architecture, dataset.classes, seed, self.name, **details)
        return model if weights is None else yolo.network.start_from(model, weights, seed)

    def require_weights(self, weights: Path) -> None:
        weight_files.require_network(weights)

    def networks_from(self, weights: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        yolo.network.verify_loadable(weights, self.name)
        return yolo.narrowing.networks_from(yolo.network.load(weights, self.name))

    def copy_weights(self, weights: Path, teacher: Any, dataset: YoloDataset, params: Any, folder: Path) -> None:
        yolo.network.verify_loadable(weights, self.name)
        model = yolo.network.load(weights, self.name)
        yolo.class_selection.require_same_head(model, dataset, weights)
        if yolo.network.class_names(model) == dataset.classes:
            shutil.copyfile(weights, folder / WEIGHTS)
        else:
            yolo.network.save(yolo.class_selection.select(model, dataset.classes), folder / WEIGHTS, params.input_size)

    def load(self, folder: Path) -> Network:
        return yolo.network.load(folder / WEIGHTS, self.name)

    def save(self, network: Network, folder: Path, params: Any) -> None:
        yolo.network.save(network, folder / WEIGHTS, params.input_size)

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        return yolo.network.describe(folder, params.input_size, self.name)

    def module(self, network: Network) -> nn.Module:
        return network  # type: ignore[no-any-return]

    # Training

    def label_objective(self, network: Network, dataset: YoloDataset, params: Any) -> Objective:
        return yolo.objective.by_labels(dataset)

    def distillation_objective(
        self, network: Network, dataset: YoloDataset, params: Any, cache: Cache[Any], teachers: Sequence[Path]
    ) -> Objective:
        return yolo.objective.by_teachers(dataset, params.distill, cache, teachers)

    def train(
        self,
        network: Network,
        objective: Objective,
        dataset: YoloDataset,
        params: Any,
        folder: Path,
        *,
        steps: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        return yolo.trainer.train(
            network,
            dataset,
            objective,
            folder,
            image_size=params.input_size,
            steps=steps,
            training=params.training,
            seed=seed,
            prior=prior,
        )

    def measure_val(self, folder: Path, dataset: YoloDataset, params: Any) -> Metrics:
        import torch

        names = yolo.network.class_names(yolo.network.load(folder / WEIGHTS, self.name))
        program = self.program(folder, torch.get_num_threads())
        return yolo.evaluate.on_val(
            yolo.matching.Predictor.of(program, names, params.input_size, dataset, yolo.evaluate.COCO)
        )

    # Soft labels

    def soft_label_recipe(self, cards: Sequence[Card], dataset: YoloDataset, params: Any) -> Recipe[Any]:
        return yolo.soft_labels.recipe(cards, dataset, params.soft_labels)

    def soft_labels(
        self, teachers: Sequence[Path], dataset: YoloDataset, params: Any, recipe: Recipe[Any], shard: int
    ) -> Iterator[tuple[Any, ...]]:
        return yolo.soft_labels.compute(teachers, dataset, recipe, shard, len(params.soft_labels.shards))  # type: ignore[arg-type]

    def shard_metrics(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Metrics:
        return yolo.soft_labels.shard_metrics(rows)

    def row_totals(self, row: Any) -> Mapping[str, float]:
        return yolo.soft_labels.row_totals(row)

    # Pruning

    def pruning_plans(
        self,
        network: Network,
        dataset: YoloDataset,
        params: Any,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        return yolo.pruning.plans(network, dataset, params, ratios, sensitivity)

    def prune(self, network: Network, full: Network, plan: Any, dataset: YoloDataset, params: Any) -> Network:
        return yolo.pruning.narrow(network, full, plan, dataset, params)

    def removed(self, full: Network, pruned: Network, params: Any) -> Metrics:
        return yolo.pruning.removed(full, pruned, params)

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        return yolo.export.exportable(folder / WEIGHTS, read_card(folder)["image_size"], self.name)

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        return yolo.export.artifact(card, self.name, runtime, tensors)

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        return ("ultralytics", "onnxslim") if runtimes.load(runtime).from_graph else ("ultralytics",)

    def calibration(self, folder: Path, dataset: YoloDataset, params: Any) -> Calibration:
        return yolo.quantization.calibration(
            dataset, read_card(folder)["image_size"], params.quantize.images, params.seed
        )

    def quantization(self, runtime: str, calibration: Calibration, params: Any) -> Quantization:
        return yolo.quantization.quantization(runtime, calibration.inputs)

    def validation(self, folder: Path, dataset: YoloDataset, params: Any) -> Validation:
        card = read_card(folder)
        return yolo.evaluate.validation(card["classes"], card["image_size"], dataset, params.evaluate)

    def train_int8(
        self,
        network: Network,
        objective: Objective,
        calibration: Calibration,
        dataset: YoloDataset,
        params: Any,
        runtime: str,
        folder: Path,
    ) -> None:
        yolo.qat.train(network, objective, calibration, dataset, params, runtime, folder)

    # Measuring

    def program(self, folder: Path, threads: int) -> Program:
        return yolo.export.open_checkpoint(folder / WEIGHTS, self.name, threads)

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        size = card["image_size"]
        return (np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32),)

    def measure(self, folder: Path, program: Program, dataset: YoloDataset, split: str, params: Any) -> Measurement:
        card = read_card(folder)
        program = yolo.decoding.with_best_boxes(program, card.get("runtime"))
        predictor = _predictor(card, program, dataset, params)._replace(resize=card.get("resize", "letterbox"))
        return yolo.evaluate.measure(predictor, split)

    def parity(
        self, folder: Path, artifact: Program, checkpoint: Program, dataset: YoloDataset, params: Any
    ) -> Metrics:
        card = read_card(folder)
        programs = (yolo.decoding.with_best_boxes(artifact, card["runtime"]), checkpoint)
        return yolo.evaluate.compare(*(_predictor(card, program, dataset, params) for program in programs))

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        return yolo.bootstrap.resample(evaluations)

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        return yolo.production_images.agreement(first, second, params.evaluate)

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        return yolo.drift_features.extract(checkpoint, images, params.evaluate)

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        # The same on every runtime, whatever the shapes that the artifact itself works with.
        count, numbers = yolo.decoding.point_shape(self.name, _kpt_shape(card))
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, -1, 6 + count * numbers])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        card = read_card(folder)
        program = yolo.decoding.with_best_boxes(runtimes.open_candidate(folder, card, threads), card["runtime"])
        shape, classes, size = _kpt_shape(card), len(card["classes"]), card["image_size"]
        return lambda image: yolo.decoding.decoded_rows(self.name, program(image), classes, shape, size)[np.newaxis]

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        return yolo.pictures.choose(project, self.name, params.evaluate.threshold, board)

    def labelled_samples(self, dataset: YoloDataset) -> Callable[[str], LabelledSample]:
        return lambda path: yolo.pictures.labelled_sample(dataset, dataset.root / path)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        if self.name == "detect":
            yolo.inspection.boxes.show(project, output, self.measures, console)
        else:
            yolo.inspection.objects.show(project, self.name, output, self.measures, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        if self.name == "detect":
            yolo.inspection.boxes.show_image(project, sample, console)
        else:
            yolo.inspection.objects.show_image(project, self.name, sample, console)


class Detect(Yolo):
    name: ClassVar[HeadName] = "detect"
    about: ClassVar[str] = "find objects in images: YOLO26, YOLO11, YOLOv8"
    measures: ClassVar[Mapping[str, Measure]] = DETECTION
    methods: ClassVar[tuple[str, ...]] = ("soft", "feature", "hybrid", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset({"search", "ingest", "drift"})

    # A teacher may be an ONNX graph: nothing is built of it, and `onnx_teacher` has its primitives.

    def require_weights(self, weights: Path) -> None:
        if not weight_formats.is_onnx(weights):
            super().require_weights(weights)

    def networks_from(self, weights: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        if not weight_formats.is_onnx(weights):
            return super().networks_from(weights)
        yolo.onnx_reading.describe(weights)
        return None

    def copy_weights(self, weights: Path, teacher: Any, dataset: YoloDataset, params: Any, folder: Path) -> None:
        if not weight_formats.is_onnx(weights):
            super().copy_weights(weights, teacher, dataset, params, folder)
        else:
            yolo.onnx_teacher.copy(weights, teacher, dataset.classes, params.input_size, folder)

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        if not yolo.onnx_teacher.is_one(folder):
            return super().describe(folder, params)
        return yolo.onnx_teacher.describe_card(folder)

    def measure_val(self, folder: Path, dataset: YoloDataset, params: Any) -> Metrics:
        if not yolo.onnx_teacher.is_one(folder):
            return super().measure_val(folder, dataset, params)
        return yolo.onnx_trust.measure_val(folder, dataset)

    def program(self, folder: Path, threads: int) -> Program:
        if not yolo.onnx_teacher.is_one(folder):
            return super().program(folder, threads)
        return yolo.onnx_teacher.Detector.open(folder, threads).program


class Segment(Yolo):
    name: ClassVar[HeadName] = "segment"
    about: ClassVar[str] = "outline each object in images: YOLO26 with masks"
    measures: ClassVar[Mapping[str, Measure]] = MASKS


class Pose(Yolo):
    name: ClassVar[HeadName] = "pose"
    about: ClassVar[str] = "find objects in images and each one's keypoints: YOLO26 with poses"
    measures: ClassVar[Mapping[str, Measure]] = POSES


class Obb(Yolo):
    name: ClassVar[HeadName] = "obb"
    about: ClassVar[str] = "find objects in images by boxes that are turned: YOLO26"
    measures: ClassVar[Mapping[str, Measure]] = ORIENTED_BOXES


def _predictor(card: Card, program: Program, dataset: YoloDataset, params: Any) -> Predictor:
    from alambique.tasks.yolo.matching import Predictor

    return Predictor.of(program, card["classes"], card["image_size"], dataset, params.evaluate)


def _kpt_shape(card: Card) -> tuple[int, int]:
    count, numbers = card["output"].get("kpt_shape", (0, 0))
    return count, numbers


TASKS: dict[str, Task] = {"detect": Detect(), "segment": Segment(), "pose": Pose(), "obb": Obb()}
"""By name in params.yaml."""
