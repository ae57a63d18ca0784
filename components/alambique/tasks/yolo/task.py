"""The tasks of this folder over their primitives; what differs between them is in `heads`, `dataset` and `decoding`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.layout import WEIGHTS
from alambique.runtimes.base import Exportable, Program, Quantization, TensorSpec, Validation
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
from alambique.tasks.yolo.measures import BY_CLASS, DETECTION, MASKS, ORIENTED_BOXES, POSES

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.softlabels.key import Recipe
    from alambique.softlabels.reader import Cache
    from alambique.tasks.trainer_state import PriorTraining
    from alambique.tasks.yolo.dataset import HeadName, YoloDataset
    from alambique.tasks.yolo.matching import Predictor


class Yolo:
    """See `alambique.tasks.Task`; a class below for each head."""

    name: ClassVar[str]
    head: ClassVar[HeadName]
    about: ClassVar[str]
    samples: ClassVar[str] = "images"
    measures: ClassVar[Mapping[str, Measure]]
    by_class: ClassVar[Mapping[str, Measure]] = BY_CLASS
    methods: ClassVar[tuple[str, ...]] = ("feature", "pseudo", "hybrid", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    # Datasets

    def import_dataset(self, source: str, target: Path) -> None:
        from alambique.data.import_dataset import import_dataset

        import_dataset(source, target)

    def dataset(self, root: Path) -> YoloDataset:
        from alambique.tasks.yolo.dataset import YoloDataset

        return YoloDataset.load(root, self.head)

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
        from alambique.tasks.yolo import network

        details = {"data_kpt_shape": list(dataset.kpt_shape)} if self.head == "pose" else {}
        model = network.build(architecture, dataset.classes, seed, self.head, **details)
        return model if weights is None else network.start_from(model, weights)

    def copy_weights(self, weights: Path, teacher: Any, dataset: YoloDataset, params: Any, folder: Path) -> None:
        from alambique.tasks.yolo import class_selection, network

        network.verify_loadable(weights, self.head)
        model = network.load(weights, self.head)
        class_selection.require_same_head(model, dataset, weights)
        if network.class_names(model) == dataset.classes:
            shutil.copyfile(weights, folder / WEIGHTS)
        else:
            network.save(class_selection.select(model, dataset.classes), folder / WEIGHTS, params.input_size)

    def load(self, folder: Path) -> Network:
        from alambique.tasks.yolo import network

        return network.load(folder / WEIGHTS, self.head)

    def save(self, network: Network, folder: Path, params: Any) -> None:
        from alambique.tasks.yolo.network import save

        save(network, folder / WEIGHTS, params.input_size)

    def describe(self, folder: Path, params: Any) -> dict[str, Any]:
        from alambique.tasks.yolo.network import describe

        return describe(folder, params.input_size, self.head)

    def module(self, network: Network) -> nn.Module:
        return network  # type: ignore[no-any-return]

    # Training

    def label_objective(
        self, network: Network, dataset: YoloDataset, params: Any, samples: int | None = None
    ) -> Objective:
        from alambique.tasks.yolo.objective import by_labels

        return by_labels(dataset, samples)

    def distillation_objective(
        self, network: Network, dataset: YoloDataset, params: Any, cache: Cache[Any], teachers: Sequence[Path]
    ) -> Objective:
        from alambique.tasks.yolo.objective import by_teachers

        return by_teachers(dataset, params.distill, cache, teachers)

    def pretrain(self, network: Network, dataset: YoloDataset, teacher: Any, params: Any) -> PriorTraining:
        from alambique.tasks.trainer_state import NO_PRIOR

        return NO_PRIOR

    def train(
        self,
        network: Network,
        objective: Objective,
        dataset: YoloDataset,
        params: Any,
        folder: Path,
        *,
        epochs: int,
        seed: int,
        prior: PriorTraining,
    ) -> Metrics:
        from alambique.tasks.yolo import trainer

        return trainer.train(
            network,
            dataset,
            objective,
            folder,
            image_size=params.input_size,
            epochs=epochs,
            training=params.training,
            seed=seed,
            prior=prior,
        )

    def measure_val(self, folder: Path, dataset: YoloDataset, params: Any) -> Metrics:
        import torch

        from alambique.tasks.yolo import evaluate, export, matching, network

        model = network.load(folder / WEIGHTS, self.head)
        program = export.open_checkpoint(folder / WEIGHTS, self.head, torch.get_num_threads())
        names = network.class_names(model)
        predictor = matching.Predictor.of(program, names, params.input_size, dataset, evaluate.COCO)
        figures = evaluate.figures(evaluate.on_split(predictor, "val"), dataset, evaluate.COCO)
        return {name: figures[name] for name in ("map50_95", "map50", "precision", "recall", "ap")}

    # Soft labels

    def soft_label_recipe(self, cards: Sequence[Card], dataset: YoloDataset, params: Any) -> Recipe[Any]:
        from alambique.tasks.yolo.soft_labels import recipe

        return recipe(cards, dataset, params.soft_labels)

    def soft_labels(
        self, teachers: Sequence[Path], dataset: YoloDataset, params: Any, recipe: Recipe[Any], shard: int
    ) -> Iterator[tuple[Any, ...]]:
        from alambique.tasks.yolo.soft_labels import compute

        return compute(teachers, dataset, recipe, shard, len(params.soft_labels.shards))  # type: ignore[arg-type]

    def shard_metrics(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Metrics:
        from alambique.tasks.yolo.soft_labels import shard_metrics

        return shard_metrics(rows)

    def row_totals(self, row: Any) -> Mapping[str, float]:
        from alambique.tasks.yolo.soft_labels import row_totals

        return row_totals(row)

    # Pruning

    def pruning_plans(
        self,
        network: Network,
        dataset: YoloDataset,
        params: Any,
        ratios: Sequence[float],
        sensitivity: dict[str, Any] | None = None,
    ) -> PruningPlans:
        from alambique.tasks.yolo.pruning import plans

        return plans(network, dataset, params, ratios, sensitivity)

    def prune(self, network: Network, full: Network, plan: Any, dataset: YoloDataset, params: Any) -> Network:
        from alambique.tasks.yolo.pruning import narrow

        return narrow(network, full, plan, dataset, params)

    def removed(self, full: Network, pruned: Network, params: Any) -> Metrics:
        from alambique.tasks.yolo.pruning import removed

        return removed(full, pruned, params)

    # Export and quantization

    def exportable(self, folder: Path) -> Exportable:
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.export import exportable

        return exportable(folder / WEIGHTS, read_card(folder)["image_size"], self.head)

    def artifact(self, card: Card, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
        from alambique.tasks.yolo.export import artifact

        return artifact(card, self.head, runtime, tensors)

    def copy_beside(self, folder: Path, target: Path) -> None:
        return

    def example(self, card: Card, runtime: str) -> str:
        from alambique.runtimes.examples import render

        return render(runtime, Path(__file__).parent / "examples" / self.head)

    def packages(self, card: Card, runtime: str) -> tuple[str, ...]:
        from alambique import runtimes

        return ("ultralytics", "onnxslim") if runtimes.load(runtime).from_graph else ("ultralytics",)

    def calibration(self, folder: Path, dataset: YoloDataset, params: Any) -> Calibration:
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.quantization import calibration

        return calibration(dataset, read_card(folder)["image_size"], params.quantize.images, params.seed)

    def quantization(self, runtime: str, calibration: Calibration, params: Any) -> Quantization:
        from alambique.tasks.yolo.quantization import quantization

        return quantization(runtime, calibration.inputs)

    def validation(self, folder: Path, dataset: YoloDataset, params: Any) -> Validation:
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.evaluate import validation

        card = read_card(folder)
        return validation(card["classes"], card["image_size"], dataset, params.evaluate)

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
        from alambique.tasks.yolo.qat import train

        train(network, objective, calibration, dataset, params, runtime, folder)

    # Measuring

    def program(self, folder: Path, threads: int) -> Program:
        from alambique.tasks.yolo.export import open_checkpoint

        return open_checkpoint(folder / WEIGHTS, self.head, threads)

    def noise(self, card: Card) -> tuple[NDArray[Any], ...]:
        size = card["image_size"]
        return (np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32),)

    def measure(self, folder: Path, program: Program, dataset: YoloDataset, split: str, params: Any) -> Measurement:
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.decoding import with_best_boxes
        from alambique.tasks.yolo.evaluate import measure

        card = read_card(folder)
        program = with_best_boxes(program, card.get("runtime"))
        return measure(_predictor(card, program, dataset, params), split)

    def parity(
        self, folder: Path, artifact: Program, checkpoint: Program, dataset: YoloDataset, params: Any
    ) -> Metrics:
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.decoding import with_best_boxes
        from alambique.tasks.yolo.evaluate import compare

        card = read_card(folder)
        programs = (with_best_boxes(artifact, card["runtime"]), checkpoint)
        return compare(*(_predictor(card, program, dataset, params) for program in programs))

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        from alambique.tasks.yolo.bootstrap import resample

        return resample(evaluations)

    def relative(self, target: Path, teacher: Path, params: Any) -> Metrics:
        return {}

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        from alambique.tasks.yolo.production_images import agreement

        return agreement(first, second, params.evaluate)

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        from alambique.tasks.yolo.drift_features import extract

        return extract(checkpoint, images, params.evaluate)

    # Serving and showing

    def tensors(self, card: Card) -> tuple[TensorTypes, TensorTypes]:
        from alambique.tasks.yolo.decoding import point_shape

        # The same on every runtime, whatever the shapes that the artifact itself works with.
        count, numbers = point_shape(self.head, _kpt_shape(card))
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, -1, 6 + count * numbers])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique import runtimes
        from alambique.tasks.cards import read_card
        from alambique.tasks.yolo.decoding import decoded_rows, with_best_boxes

        card = read_card(folder)
        program = with_best_boxes(runtimes.open_candidate(folder, card, threads), card["runtime"])
        shape, classes, size = _kpt_shape(card), len(card["classes"]), card["image_size"]
        return lambda image: decoded_rows(self.head, program(image), classes, shape, size)[np.newaxis]

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        from alambique.tasks.yolo.pictures import choose

        return choose(project, self.head, params.evaluate.threshold, board)

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        return []

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        from alambique.tasks.yolo.inspection import boxes, objects

        if self.head == "detect":
            boxes.show(project, output, console)
        else:
            objects.show(project, self.head, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        from alambique.tasks.yolo.inspection import boxes, objects

        if self.head == "detect":
            boxes.show_image(project, sample, console)
        else:
            objects.show_image(project, self.head, sample, console)


class Detect(Yolo):
    name: ClassVar[str] = "detect"
    head: ClassVar[HeadName] = "detect"
    about: ClassVar[str] = "find objects in images: YOLO26, YOLO11, YOLOv8"
    measures: ClassVar[Mapping[str, Measure]] = DETECTION
    methods: ClassVar[tuple[str, ...]] = ("soft", "feature", "hybrid", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset({"search", "ingest", "drift"})


class Segment(Yolo):
    name: ClassVar[str] = "segment"
    head: ClassVar[HeadName] = "segment"
    about: ClassVar[str] = "outline each object in images: YOLO26 with masks"
    measures: ClassVar[Mapping[str, Measure]] = MASKS


class Pose(Yolo):
    name: ClassVar[str] = "pose"
    head: ClassVar[HeadName] = "pose"
    about: ClassVar[str] = "find objects in images and each one's keypoints: YOLO26 with poses"
    measures: ClassVar[Mapping[str, Measure]] = POSES


class Obb(Yolo):
    name: ClassVar[str] = "obb"
    head: ClassVar[HeadName] = "obb"
    about: ClassVar[str] = "find objects in images by boxes that are turned: YOLO26"
    measures: ClassVar[Mapping[str, Measure]] = ORIENTED_BOXES


def _predictor(card: Card, program: Program, dataset: YoloDataset, params: Any) -> Predictor:
    from alambique.tasks.yolo.matching import Predictor

    return Predictor.of(program, card["classes"], card["image_size"], dataset, params.evaluate)


def _kpt_shape(card: Card) -> tuple[int, int]:
    count, numbers = card["output"].get("kpt_shape", (0, 0))
    return count, numbers
