"""Measure a network on a split: every one by the same images, the same letterbox and the same matching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from alambique.config.detect import Evaluate
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.runtimes.base import Program, Validation
from alambique.tasks.base import Measurement
from alambique.tasks.yolo import average_precision, parity, production_images
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.decoding import with_best_boxes
from alambique.tasks.yolo.matching import ImageResult, Predictor, match_images
from alambique.tasks.yolo.preprocess import to_shares

RESULTS = "images.arrow"
SCHEMA = pa.schema(
    {
        **{field.name: field.type for field in production_images.SCHEMA},
        "correct": pa.list_(pa.int16()),  # bit t: whether the object finds a labelled one at the t-th IoU threshold
        "truth": pa.list_(pa.int32()),  # class index of each labelled object
    }
)
POINTS = "shapes.arrow"
POINTS_SCHEMA = pa.schema(
    {
        "image": pa.string(),  # path inside data/images
        "points": pa.list_(pa.list_(pa.float32())),  # of each object that scores `evaluate.threshold`, shares
    }
)

COCO = Evaluate()
"""What teachers are measured with on val, whatever params.yaml evaluates with: other settings for test train none
anew."""


def measure(predictor: Predictor, split: str) -> Measurement:
    """Measure a network on a split, and its predictions on images from production where there are some.

    Writes  images.arrow: its predictions of each image, and which of them are right.
            shapes.arrow: their points, of a head that has some.
            field.arrow: its predictions of images from production.
    Raises:
        DataError: the split is empty.
    """
    dataset, settings = predictor.dataset, predictor.settings
    results = on_split(predictor, split)
    metrics = figures(results, dataset, settings)
    production = production_images.predict(predictor)
    if production:
        metrics["field"] = production_images.summarize(production, settings)

    def write(folder: Path) -> None:
        write_results(folder / RESULTS, [_row(result, dataset) for result in results])
        if dataset.head != "detect":
            write_results(folder / POINTS, [_points(result, dataset, settings) for result in results], POINTS_SCHEMA)
        if production:
            write_results(folder / production_images.RESULTS, production, production_images.SCHEMA)

    return Measurement(metrics, write)


def on_split(predictor: Predictor, split: str) -> list[ImageResult]:
    """Predictions of a split's images, compared with their labels; a DataError if there are no images."""
    images = predictor.dataset.images(split)
    if not images:
        raise DataError(f"{predictor.dataset.root} has no {split} images; networks are measured on them: add some")
    return list(match_images(predictor, images))


def on_val(predictor: Predictor) -> Metrics:
    """The figures on val that a teacher's card keeps."""
    measured = figures(on_split(predictor, "val"), predictor.dataset, predictor.settings)
    return {name: measured[name] for name in ("map50_95", "map50", "precision", "recall", "ap")}


def figures(results: Sequence[ImageResult], dataset: YoloDataset, settings: Evaluate) -> Metrics:
    """All measures of a task over some images; see `Task.measures`."""
    matched = [result.matched for result in results]
    boxes: Metrics = {}
    if dataset.head in {"segment", "pose"}:
        around = average_precision.summarize([result.matched_boxes for result in results], dataset.classes)
        boxes["box_map50_95"] = around["map50_95"]
    return {
        "images": len(results),
        **average_precision.summarize(matched, dataset.classes),
        **boxes,
        **average_precision.at_threshold(matched, dataset.classes, settings.threshold),
        **average_precision.calibration(matched),
    }


def validation(classes: list[str], image_size: int, dataset: YoloDataset, settings: Evaluate) -> Validation:
    """Measures programs by mAP50-95 on val, by the same inference and matching as on test.

    Args:
        classes: the network's, by name.
        image_size: side of its input, pixels.
    Raises:
        DataError: val holds no labels, so that nothing could be lost there.
    """
    images = dataset.images("val")
    if not any(len(dataset.boxes(image)) for image in images):
        raise DataError(f"{dataset.root}: val holds no boxes; artifacts are measured there: add labelled images")

    def map50_95(matched: list[average_precision.Matched]) -> float:
        value: float | None = average_precision.summarize(matched, dataset.classes)["map50_95"]
        return value or 0.0

    def score(program: Program, some: Iterable[Path]) -> tuple[float, list[float]]:
        predictor = Predictor.of(program, classes, image_size, dataset, settings)
        matched = [result.matched for result in match_images(predictor, list(some))]
        return map50_95(matched), [map50_95([image]) for image in matched]

    return Validation(images, score, with_best_boxes)


def compare(artifact: Predictor, checkpoint: Predictor) -> Metrics:
    """Compare the predictions of two networks on the first test images; see `parity.parity`."""
    images = artifact.dataset.images("test")[: parity.IMAGES]
    first, second = (
        [predictor.predict(image)[0].detections for image in images] for predictor in (artifact, checkpoint)
    )
    return parity.parity(first, second, artifact.settings.threshold)


def write_results(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    """Write an images.arrow: one row of `SCHEMA` for each test image, in the order of their paths."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(result: ImageResult, dataset: YoloDataset) -> dict[str, Any]:
    return {
        **production_images.row(dataset.inside(result.image), result.objects, result.letterbox),
        "correct": average_precision.pack(result.matched.correct).tolist(),
        "truth": result.matched.truth.tolist(),
    }


def _points(result: ImageResult, dataset: YoloDataset, settings: Evaluate) -> dict[str, Any]:
    shown = result.objects.points[result.objects.scores >= settings.threshold]
    points = to_shares(shown, result.letterbox)
    return {"image": dataset.inside(result.image), "points": [outline.ravel().tolist() for outline in points]}
