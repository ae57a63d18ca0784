"""Image classification with YOLO26's classifiers, and torchvision's and timm's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.classify import Params
from alambique.evaluation.measures import Measure, Resampled
from alambique.tasks import Ability, Facts, Tensors
from alambique.tasks.classification.metrics import BY_CLASS, MEASURES
from alambique.tasks.modular import Modular

if TYPE_CHECKING:
    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.tasks.classify.dataset import Dataset


class Classify(Modular):
    """The task protocol for image classifiers."""

    package = "alambique.tasks.classify"
    about: ClassVar[str] = "tell classes of images apart: YOLO26-cls, torchvision, timm"
    samples: ClassVar[str] = "images"
    measures: ClassVar[Mapping[str, Measure]] = MEASURES
    by_class: ClassVar[Mapping[str, Measure]] = BY_CLASS
    methods: ClassVar[tuple[str, ...]] = ("soft", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def adopt(self, source: str, target: Path) -> None:
        from alambique.tasks.classify.adopt import adopt

        adopt(source, target)

    def data(self, root: Path) -> Dataset:
        from alambique.tasks.classify.dataset import Dataset

        return Dataset.load(root)

    def facts(self, root: Path, params: Params) -> Facts:
        from alambique.tasks.classify.contract import facts

        return facts(self.data(root), params.validation.min_images_per_class)

    def plots(self, project: Path, params: Params, board: Leaderboard) -> list[tuple[str, str]]:
        from alambique.tasks.classify.pictures import plots

        return plots(project, board)

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        from alambique.tasks.classification.results import resample

        return resample(evaluations)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        # The same on every runtime, whatever the shapes that the artifact itself works with.
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, len(card["classes"])])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.classify.predict import load

        predict = load(folder, threads)
        return lambda image: predict(image)[np.newaxis]


CLASSIFY = Classify()
