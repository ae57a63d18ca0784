"""A detector's output on images as numbers, so that a drift of its inputs can be detected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alambique.config.detect import Evaluate
from alambique.layout import WEIGHTS
from alambique.tasks.base import DriftFeatures
from alambique.tasks.cards import read_card
from alambique.tasks.yolo import network
from alambique.tasks.yolo.export_head import end_to_end
from alambique.tasks.yolo.preprocess import preprocess


def extract(folder: Path, images: Sequence[Path], settings: Evaluate) -> DriftFeatures:
    """Run a checkpoint over images.

    The embedding is the output of the backbone's last layer, averaged over the image. Boxes count from the threshold
    on; the confidence of an image is their mean score, or its best score where there is none.

    Args:
        folder: of the checkpoint, with its card.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    card = read_card(folder)
    model = end_to_end(network.load(folder / WEIGHTS))
    embeddings: list[NDArray[np.float32]] = []
    last_of_backbone: nn.Module = model.model[len(model.yaml["backbone"]) - 1]
    last_of_backbone.register_forward_hook(lambda _, __, output: embeddings.append(output.mean((2, 3))[0].numpy()))
    classes: list[str] = card["classes"]
    predictions = []
    for image in images:
        pixels, _ = preprocess(image, card["image_size"])
        with torch.inference_mode():
            output = model(torch.from_numpy(pixels))
        boxes = (output[0] if isinstance(output, tuple) else output)[0].numpy()
        predictions.append(_of_image(boxes, len(classes), settings.threshold))
    confidence, number, counts, doubts = (np.array(column, np.float64) for column in zip(*predictions, strict=True))
    numbers = {"confidence": confidence, "boxes": number}
    return DriftFeatures(np.array(embeddings, np.float64), numbers, counts, classes, doubts)


def uncertainty(scores: NDArray[np.float64], threshold: float) -> float:
    """How close an image's scores are to the threshold that decides over them: 1 on it, 0 for scores of 0 and 1.

    The margin of each box, averaged over the boxes that may count, or else the best box's alone (Brust, Käding &
    Denzler 2019, Active Learning for Deep Object Detection, §3.2; their margin is between classes, this one between box
    and no box, where detectors mostly err).

    Args:
        scores: of an image's boxes, (n,).
    """
    if not len(scores):
        return 0.0
    doubtful = scores[scores >= threshold / 2]
    considered = doubtful if len(doubtful) else scores.max(keepdims=True)
    reach = np.where(considered < threshold, threshold, 1 - threshold)
    return float(np.mean(1 - np.abs(considered - threshold) / np.maximum(reach, 1e-9)))


def _of_image(
    boxes: NDArray[np.float32], classes: int, threshold: float
) -> tuple[float, int, NDArray[np.int64], float]:
    """An image's confidence, number of boxes, boxes of each class, (classes,), and uncertainty; see `extract`.

    Args:
        boxes: x1, y1, x2, y2, score, class index, (n, 6).
    """
    scores = boxes[:, 4].astype(np.float64)
    counted = scores >= threshold
    counts = np.bincount(np.rint(boxes[counted, 5]).astype(np.int64), minlength=classes)
    confidence = scores[counted].mean() if counted.any() else scores.max(initial=0.0)
    return float(confidence), int(counted.sum()), counts, uncertainty(scores, threshold)
