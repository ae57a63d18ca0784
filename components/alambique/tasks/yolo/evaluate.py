"""Measure a subject on a split: every subject by the same images, the same letterbox and the same matching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from alambique.config.detect import Evaluate, Params
from alambique.data.dataset import Dataset
from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, DATA, EvaluationTarget, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import average_precision, confidence, field, operating_point, parity
from alambique.tasks.detect.average_precision import Detections, Matched
from alambique.tasks.detect.predict import Predictor, load
from alambique.tasks.detect.preprocess import Letterbox, preprocess, restore

SPLIT = "test"
RESULTS = "images.arrow"
SCHEMA = pa.schema(
    {
        "image": pa.string(),  # path inside data/images
        "boxes": pa.list_(pa.list_(pa.float32())),  # x1, y1, x2, y2, shares of the image
        "scores": pa.list_(pa.float32()),
        "classes": pa.list_(pa.int32()),  # index into the dataset's classes
        "correct": pa.list_(pa.int16()),  # bit t: whether the detection finds a true box at the t-th IoU threshold
        "truth": pa.list_(pa.int32()),  # class index of each true box
    }
)


def evaluate(project: Path, params: Params, subject: str, target: Path) -> Metrics:
    """Measure `subject`; see `alambique.tasks.Task.evaluate`.

    Writes  images.arrow: what it found in each test image, and which of that is right.
            field.arrow: what it found in images from the field, where there are some.
    Raises:
        IntegrityError: the subject's files are not what its card says, or a candidate was made from another checkpoint
            than the one that lies there.
        DataError: there are no test images, or the subject shares no class with the dataset.
    """
    named, dataset = EvaluationTarget.parse(subject), Dataset.load(project / DATA)
    folder = project / named.folder
    if named.kind == "champion" and not (folder / CARD).exists():
        write_results(target / RESULTS, [])
        return {"subject": subject, "present": False}
    metrics, rows = measure(folder, dataset, SPLIT, params.evaluate)
    if named.kind == "candidate":
        source = project / checkpoint(str(named.student), "pruned")
        metrics["parity"] = compare(folder, source, dataset, SPLIT, params.evaluate)
    write_results(target / RESULTS, rows)
    if images := field.chosen(dataset):
        seen = look(folder, images, dataset, params.evaluate)
        metrics["field"] = field.summarize(seen, params.evaluate)
        field.write(target / field.RESULTS, seen)
    return {"subject": subject, "present": True, **metrics}


def measure(folder: Path, dataset: Dataset, split: str, settings: Evaluate) -> tuple[Metrics, list[dict[str, Any]]]:
    """Measure a checkpoint or candidate on a split.

    Args:
        folder: holds its card and the files that the card names.
        dataset: its classes are matched with the subject's by name.
        split: whose images and labels.
        settings: which boxes count.
    Returns:
        the metrics; and what was found in each image, as rows of `SCHEMA`.
    Raises:
        as `evaluate`.
    """
    images = dataset.images(split)
    if not images:
        raise DataError(f"{dataset.root} has no {split} images; every subject is measured on them: add some")
    card = read_card(folder)
    classes = class_indices(card["classes"], dataset.classes, folder)
    predict = load(folder, torch.get_num_threads())
    rows, matched = [], []
    for image in images:
        found, judged, letterbox = judge(predict, image, dataset, classes, card["image_size"], settings)
        matched.append(judged)
        rows.append(_row(image.relative_to(dataset.root / "images"), found, judged, letterbox))
    metrics = {
        "split": split,
        "data": dataset.digest(split),
        "images": len(images),
        **average_precision.summarize(matched, dataset.classes),
        **operating_point.at_threshold(matched, dataset.classes, settings.threshold),
        **confidence.calibration(matched),
        **_identity(card),
    }
    return metrics, rows


def compare(artifact: Path, source: Path, dataset: Dataset, split: str, settings: Evaluate) -> Metrics:
    """Let a candidate and its checkpoint answer the split's first images; see `parity.parity`.

    Args:
        artifact: folder of the candidate.
        source: folder of the checkpoint.
        dataset, split, settings: as of `measure`.
    Raises:
        as `evaluate`.
    """
    made_of, found = read_card(artifact)["checkpoint_sha256"], read_card(source)["sha256"]
    if made_of != found:
        raise IntegrityError(
            f"{artifact} was made from the checkpoint {made_of[:12]}, but {source} holds {found[:12]}; "
            "make the artifact again (`dvc repro` of its export or quantize stage)"
        )
    images = dataset.images(split)[: parity.IMAGES]
    first, second = (detect(folder, images, dataset, settings) for folder in (artifact, source))
    return parity.parity(first, second, settings.threshold)


def detect(folder: Path, images: list[Path], dataset: Dataset, settings: Evaluate) -> list[Detections]:
    """What a checkpoint or candidate finds in each of some images of the dataset; see `measure`."""
    card = read_card(folder)
    classes = class_indices(card["classes"], dataset.classes, folder)
    predict = load(folder, torch.get_num_threads())
    inputs = (preprocess(image, card["image_size"])[0] for image in images)
    return [_detect(predict, pixels, classes, settings.min_score, settings.max_boxes) for pixels in inputs]


def look(folder: Path, images: list[Path], dataset: Dataset, settings: Evaluate) -> list[dict[str, Any]]:
    """What a checkpoint or candidate finds in images without labels, as rows of `field.SCHEMA`; see `measure`."""
    card = read_card(folder)
    classes = class_indices(card["classes"], dataset.classes, folder)
    predict = load(folder, torch.get_num_threads())
    rows = []
    for image in images:
        pixels, letterbox = preprocess(image, card["image_size"])
        found = _detect(predict, pixels, classes, settings.min_score, settings.max_boxes)
        rows.append(_found(image.relative_to(dataset.root / "images"), found, letterbox))
    return rows


def judge(
    predict: Predictor,
    image: Path,
    dataset: Dataset,
    classes: NDArray[np.int64],
    image_size: int,
    settings: Evaluate,
) -> tuple[Detections, Matched, Letterbox]:
    """What a network finds in one image of the dataset, which of it is right, and where its input pixels lie.

    Args:
        predict: the network, with inputs of `image_size`.
        image: of any split.
        dataset: holds the image's true boxes.
        classes: the dataset's index of each of the network's classes, −1 for those it does not know.
        image_size: side of the input, pixels.
        settings: which boxes count.
    """
    pixels, letterbox = preprocess(image, image_size)
    found = _detect(predict, pixels, classes, settings.min_score, settings.max_boxes)
    return found, _match(found, dataset.boxes(image), letterbox), letterbox


def class_indices(subject: list[str], dataset: list[str], folder: Path) -> NDArray[np.int64]:
    """The dataset's index of each of the subject's classes, by name; −1 for one that the dataset does not know."""
    indices = [dataset.index(name) if name in dataset else -1 for name in subject]
    if max(indices, default=-1) < 0:
        raise DataError(f"{folder} knows {subject}, none of the dataset's {dataset}: it is another task's network")
    return np.array(indices, np.int64)


def _detect(
    predict: Predictor,
    pixels: NDArray[np.float32],
    classes: NDArray[np.int64],
    min_score: float,
    max_boxes: int,
) -> Detections:
    output = predict(pixels)
    # A broken artifact may answer with anything. What is no box of a known class counts as not found, and gates see it.
    output = output[np.isfinite(output).all(axis=1)]
    numbers = np.rint(output[:, 5])
    known = (numbers >= 0) & (numbers < len(classes))
    indices = np.where(known, classes[np.where(known, numbers, 0).astype(np.int64)], -1)
    kept = np.flatnonzero((output[:, 4] > min_score) & (indices >= 0))
    order = kept[np.argsort(-output[kept, 4], kind="stable")][:max_boxes]
    return Detections(output[order, :4], output[order, 4], indices[order])


def _match(found: Detections, labels: NDArray[np.float64], letterbox: Letterbox) -> Matched:
    """Match in input pixels, where `yolo val` does.

    Args:
        labels: class, centre x, centre y, width, height in shares of the image, (m, 5).
    """
    centers, sizes = labels[:, 1:3], labels[:, 3:5]
    shares = np.hstack([centers - sizes / 2, centers + sizes / 2])
    image = np.array([letterbox.width, letterbox.height] * 2) * letterbox.scale
    truth = shares * image + np.array([letterbox.left, letterbox.top] * 2)
    return average_precision.match(*found, truth.astype(np.float32), labels[:, 0].astype(np.int64))


def _row(image: Path, found: Detections, matched: Matched, letterbox: Letterbox) -> dict[str, Any]:
    correct = average_precision.pack(matched.correct).tolist()
    return {**_found(image, found, letterbox), "correct": correct, "truth": matched.truth.tolist()}


def _found(image: Path, found: Detections, letterbox: Letterbox) -> dict[str, Any]:
    """A row of `field.SCHEMA`, which `SCHEMA` begins with, too."""
    return {
        "image": image.as_posix(),
        "boxes": restore(found.boxes, letterbox).tolist(),
        "scores": found.scores.tolist(),
        "classes": found.classes.tolist(),
    }


def _identity(card: dict[str, Any]) -> Metrics:
    """What was measured, from its verified card."""
    metrics = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**metrics, "candidate": card["candidate"], "digest": card["digest"]}
    return {**metrics, "sha256": card["sha256"]}


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write an images.arrow: one row of `SCHEMA` for each test image, in the order of their paths."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
