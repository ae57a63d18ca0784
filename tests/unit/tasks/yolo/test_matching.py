from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ultralytics.utils import ops

from alambique.config.heads import Evaluate
from alambique.tasks.yolo import average_precision
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.decoding import Outputs
from alambique.tasks.yolo.matching import ImageResult, Predictor, match_images

PROTOTYPES = 32


class Oracle:
    """A network whose outputs are the labels, image by image, in the order in which it is called.

    Attributes:
        shift: of all it says, input pixels.
        first: how many of an image's objects it finds.
    """

    def __init__(self, data: YoloDataset, split: str, shift: float = 0.0, first: int | None = None) -> None:
        self.data, self.shift, self.first = data, shift, first
        self.samples = iter(data.samples(split))

    def __call__(self, image: Any) -> Outputs:
        sample, size = next(self.samples), image.shape[-1]
        rows = [self._row(*each, size) for each in zip(sample.boxes, sample.targets[:, 0], sample.points, strict=True)]
        width = {"segment": 6 + PROTOTYPES, "pose": 15, "obb": 7}[self.data.head]
        answer = np.zeros((1, max(len(rows), 1), width), np.float32)
        for place, row in enumerate(rows[: self.first]):
            answer[0, place, : len(row)] = row
            if self.data.head == "segment":
                answer[0, place, 6 + place] = 1.0
        if self.data.head != "segment":
            return [answer]
        masks = np.full((1, PROTOTYPES, size // 4, size // 4), -1.0, np.float32)
        for place, points in enumerate(sample.points):
            masks[0, place] = self._mask(points, size)
        return [answer, masks]

    def _row(self, box: Any, index: float, points: Any, size: int) -> list[float]:
        if self.data.head == "obb":
            x, y, width, height, angle = ops.xyxyxyxy2xywhr(torch.from_numpy(points * size)[None])[0].tolist()
            return [x + self.shift, y, width, height, 0.9, index, angle]
        centre, extent = box[:2] * size, box[2:] * size
        row = [*(centre - extent / 2), *(centre + extent / 2), 0.9, index]
        if self.data.head == "pose":
            row += (points * [size, size, 1] + [self.shift, 0, 0]).ravel().tolist()
        return row

    def _mask(self, points: Any, size: int) -> Any:
        import cv2

        canvas = np.zeros((size, size), np.uint8)
        cv2.fillPoly(canvas, [(points * size + [self.shift, 0]).round().astype(np.int32)], 1)
        return np.where(canvas[2::4, 2::4] > 0, 1.0, -1.0)


def judged(data: YoloDataset, **how: Any) -> tuple[dict[str, Any], list[Any]]:
    results = matched(data, data.classes, **how)
    return average_precision.summarize([result.matched for result in results], data.classes), results


def matched(data: YoloDataset, classes: list[str], **how: Any) -> list[ImageResult]:
    predictor = Predictor.of(Oracle(data, "test", **how), classes, 64, data, Evaluate())  # type: ignore[arg-type]
    return list(match_images(predictor, data.images("test")))


def test_a_network_that_repeats_the_labels_is_right(data: YoloDataset) -> None:
    found, results = judged(data)
    assert found["map50"] == pytest.approx(0.995)  # Ultralytics' highest
    # Masks are compared on a quarter of the pixels, and drawn a little otherwise.
    assert found["map50_95"] >= (0.4 if data.head == "segment" else 0.99)
    for path, answer, right, _, letterbox in results:
        assert len(right.truth) == len(answer.boxes) == len(data.sample(path).boxes)
        assert (letterbox.width, letterbox.height, letterbox.scale) == (64, 64, 1.0)


def test_what_lies_elsewhere_is_wrong(data: YoloDataset) -> None:
    exact, _ = judged(data)
    near, _ = judged(data, shift=3.0)
    far, _ = judged(data, shift=40.0)
    assert far["map50_95"] < near["map50_95"] < exact["map50_95"]
    assert far["map50"] < 0.1


def test_what_is_not_found_is_missing(data: YoloDataset) -> None:
    found, results = judged(data, first=0)
    assert found["map50_95"] == 0
    assert all(not len(answer.boxes) for _, answer, _, _, _ in results)


def test_classes_are_matched_by_name(data: YoloDataset) -> None:
    for path, answer, right, _, _ in matched(data, data.classes[::-1]):
        named = sorted(9 - data.sample(path).targets[:, 0].astype(int))
        assert sorted(answer.classes) == named
        wrong = ~np.isin(answer.classes, right.truth)
        assert not right.correct[wrong].any()
