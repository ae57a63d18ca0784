"""Object detection with YOLO26, YOLO11 and YOLOv8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.detect import Params
from alambique.evaluation.measures import Measure, Metrics, Resampled
from alambique.tasks import Ability, DriftFeatures, Facts, Tensors
from alambique.tasks.modular import Modular

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.data.dataset import Dataset


class Detect(Modular):
    """The task protocol for detectors."""

    package = "alambique.tasks.detect"
    about: ClassVar[str] = "find objects in images: YOLO26, YOLO11, YOLOv8"
    samples: ClassVar[str] = "images"
    measures: ClassVar[Mapping[str, Measure]] = {
        "map50_95": Measure(
            "mAP50-95",
            shown=True,
            about="mean over the classes of average precision at IoU 0.50, 0.55 … 0.95, as Ultralytics computes it",
        ),
        "map50": Measure("mAP50", shown=True, about="the same at IoU 0.50 alone"),
        "f1": Measure("F1", about="at the threshold of deployment, IoU 0.50"),
        "confidence": Measure(
            "score if right",
            "number",
            about="mean over the right detections; falls with a collapse of confidence, which mAP does not see",
        ),
        "ece": Measure(
            "calibration error", "number", lower_is_better=True, about="how far scores are from being right so often"
        ),
    }
    by_class: ClassVar[Mapping[str, Measure]] = {
        "ap": Measure("AP", about="average precision at IoU 0.50 to 0.95; a class that no test image holds has none"),
        "recall": Measure("recall", about="share of a class's objects found at the threshold of deployment, IoU 0.50"),
    }
    methods: ClassVar[tuple[str, ...]] = ("soft", "feature", "hybrid", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset({"search", "ingest", "drift"})

    def adopt(self, source: str, target: Path) -> None:
        from alambique.data.import_dataset import import_dataset

        import_dataset(source, target)

    def data(self, root: Path) -> Dataset:
        from alambique.data.dataset import Dataset

        return Dataset.load(root)

    def facts(self, root: Path, params: Params) -> Facts:
        from alambique.data import contract, manifest

        dataset = self.data(root)
        found = manifest.build(dataset)
        promised = contract.suites(len(dataset.classes), params.validation.min_boxes_per_class)
        return Facts(found.tables, promised, manifest.counts(dataset, found))

    def search(self, project: Path, params: Params, target: Path) -> Metrics:
        from alambique.tasks.detect.search import search

        return search(project, params, target)

    def agreement(self, first: Path, second: Path, params: Params) -> float | None:
        from alambique.tasks.detect.field import agreement

        return agreement(first, second, params.evaluate)

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Params) -> DriftFeatures:
        from alambique.tasks.detect.drift_features import drift_features

        return drift_features(checkpoint, images, params.evaluate)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        from alambique.tasks.detect.inspection.command import show

        show(project, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        from alambique.tasks.detect.inspection.command import show_image

        show_image(project, sample, console)

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        from alambique.tasks.detect.bootstrap import resample

        return resample(evaluations)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        # The same on every runtime, whatever the shapes that the artifact itself works with.
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, -1, 6])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.detect.predict import load

        predict = load(folder, threads)
        return lambda image: predict(image)[np.newaxis]


DETECT = Detect()
