"""What a change of precision costs: mAP on val, by the same inference and matching as `evaluate`'s on test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from alambique.config.detect import Evaluate
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.tasks.detect import average_precision
from alambique.tasks.detect.average_precision import Matched
from alambique.tasks.detect.evaluate import class_indices, judge
from alambique.tasks.detect.predict import Predictor, open_artifact

SPLIT = "val"


class Budget(NamedTuple):
    """What INT8 may cost: mAP50-95 in FP32, and how far it may fall below."""

    fp32: float
    max_drop: float

    @property
    def floor(self) -> float:
        """The least mAP50-95 within the budget."""
        return self.fp32 - self.max_drop


class Validation(NamedTuple):
    """The val split as a network of these classes and this image size sees it.

    Attributes:
        dataset: holds the images and their boxes.
        classes: the network's, by name.
        image_size: side of its input, pixels.
        settings: which boxes count.
    """

    dataset: Dataset
    classes: list[str]
    image_size: int
    settings: Evaluate

    @property
    def images(self) -> list[Path]:
        """The split's, sorted by path."""
        return self.dataset.images(SPLIT)

    def judge(self, predict: Predictor, images: Iterable[Path]) -> list[Matched]:
        """What a network finds in each of some images, and which of it is right."""
        classes = class_indices(self.classes, self.dataset.classes, self.dataset.root)
        return [judge(predict, image, self.dataset, classes, self.image_size, self.settings)[1] for image in images]

    def map50_95(self, path: Path, runtime: str) -> float:
        """An artifact's mAP50-95 on the split, on its own runtime.

        Args:
            path: the file that the runtime opens.
            runtime: its name.
        Raises:
            DataError: the split holds no box, so that nothing could be lost there.
        """
        return self.score(open_artifact(path, runtime, torch.get_num_threads()))

    def score(self, predict: Predictor) -> float:
        """A network's mAP50-95 on the split.

        Raises:
            DataError: as `map50_95`.
        """
        judged = self.judge(predict, self.images)
        score = mean_average_precision(judged, self.dataset.classes) if judged else None
        if score is None:
            raise DataError(
                f"{self.dataset.root}: {SPLIT} holds no boxes; artifacts are measured there: add labelled images"
            )
        return score


def mean_average_precision(judged: list[Matched], classes: list[str]) -> float | None:
    """mAP50-95 of some images; None where they hold no box."""
    score: float | None = average_precision.summarize(judged, classes)["map50_95"]
    return score
