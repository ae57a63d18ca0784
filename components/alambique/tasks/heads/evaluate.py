"""Measure a subject on a split: on its own runtime, image by image, matched by Ultralytics' validator of the head."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from ultralytics.cfg import get_cfg

from alambique.config.heads import Evaluate, Head, Heads
from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, DATA, EvaluationTarget, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import average_precision, confidence, operating_point, parity
from alambique.tasks.detect.average_precision import Detections, Matched
from alambique.tasks.detect.evaluate import RESULTS, class_indices, write_results
from alambique.tasks.detect.preprocess import Letterbox, preprocess, restore
from alambique.tasks.engines import WholeEngine
from alambique.tasks.heads import engines
from alambique.tasks.heads.answers import Found, Outputs, decode, rows_of, to_shares
from alambique.tasks.heads.shapes import Shapes
from alambique.tasks.heads.trainer import VALIDATORS, open_samples

SPLIT = "test"
SHAPES = "shapes.arrow"
SHAPES_SCHEMA = pa.schema(
    {
        "image": pa.string(),  # path inside data/images
        "points": pa.list_(pa.list_(pa.float32())),  # of each object that scores `evaluate.threshold`, shares
    }
)

MATCHED: dict[Head, str] = {"segment": "tp_m", "pose": "tp_p", "obb": "tp"}
"""What the validator calls the judgement that the headline metric is about."""


def evaluate(project: Path, params: Heads, subject: str, target: Path) -> Metrics:
    """Measure `subject`; see `alambique.tasks.Task.evaluate`.

    Writes  images.arrow: what it found in each test image, and which of that is right.
            shapes.arrow: the outlines, keypoints or corners of what it is sure of.
    Raises:
        IntegrityError: the subject's files are not what its card says, or a candidate was made from another checkpoint
            than the one that lies there.
        DataError: there are no test images, or the subject shares no class with the dataset.
    """
    named, data = EvaluationTarget.parse(subject), Shapes.of(project / DATA, params.task)
    folder = project / named.folder
    if named.kind == "champion" and not (folder / CARD).exists():
        write_results(target / RESULTS, [])
        return {"subject": subject, "present": False}
    metrics, rows, shapes = measure(folder, data, SPLIT, params.evaluate)
    if named.kind == "candidate":
        source = project / checkpoint(str(named.student), "pruned")
        metrics["parity"] = compare(folder, source, data, params.evaluate)
    write_results(target / RESULTS, rows)
    with pa.OSFile(str(target / SHAPES), "wb") as file, pa.ipc.new_file(file, SHAPES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(shapes, SHAPES_SCHEMA))
    return {"subject": subject, "present": True, **metrics}


def measure(
    folder: Path, data: Shapes, split: str, settings: Evaluate
) -> tuple[Metrics, list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure a checkpoint or candidate on a split.

    Args:
        folder: holds its card and the files that the card names.
        data: its classes are matched with the subject's by name.
        split: whose images and labels.
        settings: which objects count.
    Returns:
        the metrics; what was found in each image, as rows of detectors' images.arrow; and as rows of `SHAPES_SCHEMA`.
    Raises:
        as `evaluate`.
    """
    card = read_card(folder)
    judge = Judge(engines.load(folder, torch.get_num_threads()), card, folder, data, settings)
    if not data.images(split):
        raise DataError(f"{data.root} has no {split} images; every subject is measured on them: add some")
    rows, shapes, judged, boxes = [], [], [], []
    for path, found, matched, around, letterbox in judge.split(split):
        name = path.relative_to(data.root / "images").as_posix()
        rows.append(
            {
                "image": name,
                "boxes": restore(found.boxes, letterbox).tolist(),
                "scores": found.scores.tolist(),
                "classes": found.classes.tolist(),
                "correct": average_precision.pack(matched.correct).tolist(),
                "truth": matched.truth.tolist(),
            }
        )
        sure = found.points[found.scores >= settings.threshold]
        shapes.append({"image": name, "points": [each.ravel().tolist() for each in to_shares(sure, letterbox)]})
        judged.append(matched)
        boxes.append(around)
    box = {} if data.head == "obb" else {"box_map50_95": average_precision.summarize(boxes, data.classes)["map50_95"]}
    metrics = {
        "split": split,
        "data": data.digest(split),
        "images": len(rows),
        **average_precision.summarize(judged, data.classes),
        **box,
        **operating_point.at_threshold(judged, data.classes, settings.threshold),
        **confidence.calibration(judged),
        **_identity(card),
    }
    return metrics, rows, shapes


def compare(artifact: Path, source: Path, data: Shapes, settings: Evaluate) -> Metrics:
    """Let a candidate and its checkpoint answer the first test images; see `tasks.detect.parity.parity`.

    Raises:
        as `evaluate`.
    """
    made_of, found = read_card(artifact)["checkpoint_sha256"], read_card(source)["sha256"]
    if made_of != found:
        raise IntegrityError(
            f"{artifact} was made from the checkpoint {made_of[:12]}, but {source} holds {found[:12]}; "
            "make the artifact again (`dvc repro` of its export or quantize stage)"
        )
    images = data.images(SPLIT)[: parity.IMAGES]
    first, second = (_answers(folder, images, data, settings) for folder in (artifact, source))
    return parity.parity(first, second, settings.threshold)


class CandidateVerdict(NamedTuple):
    """What a network makes of one image.

    Attributes:
        image: its file.
        found: with the dataset's classes.
        matched: which of it is right by the head.
        around: which of it is right by its box alone; of a turned box, the same.
        letterbox: where the image lies in the input.
    """

    image: Path
    found: Found
    matched: Matched
    around: Matched
    letterbox: Letterbox


class Judge:
    """A network, and Ultralytics' validator of its head, which says what of its answers is right.

    Args:
        predict: the network.
        card: its card.
        folder: where it lies, for messages.
        data: the dataset.
        settings: which objects count.
    """

    def __init__(
        self, predict: WholeEngine, card: dict[str, Any], folder: Path, data: Shapes, settings: Evaluate
    ) -> None:
        self.predict, self.data, self.settings = predict, data, settings
        self.image_size: int = card["image_size"]
        self.classes = class_indices(card["classes"], data.classes, folder)

    def split(self, split: str) -> Iterator[CandidateVerdict]:
        """What the network makes of each image of a split."""
        hyp = get_cfg(overrides={"task": self.data.head, "imgsz": self.image_size})
        samples = self.data.samples(split)
        dataset = open_samples(samples, self.data, imgsz=self.image_size, batch_size=1, augment=False, hyp=hyp)
        with tempfile.TemporaryDirectory() as scratch:
            validator = self._validator(dataset, Path(scratch))
            for index, sample in enumerate(samples):
                batch = validator.preprocess(dataset.collate_fn([dataset[index]]))
                yield CandidateVerdict(sample.image, *self._judge(validator, batch), _letterbox(batch))

    def _validator(self, dataset: Any, scratch: Path) -> Any:
        asked = {"task": self.data.head, "imgsz": self.image_size, "conf": self.settings.min_score}
        validator = VALIDATORS[self.data.head](
            SimpleNamespace(dataset=dataset), scratch, {**asked, "max_det": self.settings.max_boxes, "plots": False}
        )
        validator.data, validator.device = self.data.described(), torch.device("cpu")
        validator.init_metrics(SimpleNamespace(names=dict(enumerate(self.data.classes)), end2end=True))
        return validator

    def _judge(self, validator: Any, batch: dict[str, Any]) -> tuple[Found, Matched, Matched]:
        outputs = self.predict(np.ascontiguousarray(batch["img"].numpy()))
        rows = self._known(outputs)
        found = decode(self.data.head, outputs, rows, self.data.kpt_shape, self.image_size)
        answer: Any = [torch.from_numpy(rows)[None], *map(torch.from_numpy, outputs[1:])]
        (prediction,) = validator.postprocess(answer if len(answer) > 1 else answer[0])
        asked = validator._prepare_batch(0, batch)
        truth = asked["cls"].numpy().astype(np.int64)
        judged = validator._process_batch(validator._prepare_pred(prediction), asked)
        matched = [Matched(judged[key], found.scores, found.classes, truth) for key in (MATCHED[self.data.head], "tp")]
        return found, matched[0], matched[1]

    def _known(self, outputs: Outputs) -> NDArray[np.float32]:
        """The rows of the network's answer, with the dataset's classes."""
        rows = rows_of(outputs, len(self.classes), self.settings.min_score, len(outputs[0][0])).copy()
        rows[:, 5] = self.classes[np.rint(rows[:, 5]).astype(np.int64)]
        return rows[rows[:, 5] >= 0][: self.settings.max_boxes]


def _letterbox(batch: dict[str, Any]) -> Letterbox:
    """Where the only image of a batch lies in its input."""
    height, width = batch["ori_shape"][0]
    (scale, _), (left, top) = batch["ratio_pad"][0]
    return Letterbox(width, height, scale, int(left), int(top))


def _answers(folder: Path, images: list[Path], data: Shapes, settings: Evaluate) -> list[Detections]:
    card = read_card(folder)
    predict = engines.load(folder, torch.get_num_threads())
    answers = []
    for image in images:
        outputs = predict(preprocess(image, card["image_size"])[0])
        rows = rows_of(outputs, len(card["classes"]), settings.min_score, settings.max_boxes)
        answers.append(decode(data.head, outputs, rows, data.kpt_shape, card["image_size"]).detections)
    return answers


def _identity(card: dict[str, Any]) -> Metrics:
    """What was measured, from its verified card."""
    metrics = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**metrics, "candidate": card["candidate"], "digest": card["digest"]}
    return {**metrics, "sha256": card["sha256"]}
