"""Classifiers of texts, as of intents or sentiments: any of Hugging Face's encoders as teacher, BERTs as students."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text_classify import Params
from alambique.evaluation.measures import Measure, Resampled
from alambique.tasks import Ability, Facts, Tensors
from alambique.tasks.classification.metrics import BY_CLASS, MEASURES
from alambique.tasks.modular import Modular

if TYPE_CHECKING:
    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.tasks.text.data import Texts


class TextClassify(Modular):
    """The task protocol for classifiers of texts."""

    package = "alambique.tasks.text_classify"
    about: ClassVar[str] = "put texts into classes, as intents or sentiments: BERTs, from any encoder"
    samples: ClassVar[str] = "texts"
    measures: ClassVar[Mapping[str, Measure]] = MEASURES
    by_class: ClassVar[Mapping[str, Measure]] = BY_CLASS
    methods: ClassVar[tuple[str, ...]] = ("soft", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def adopt(self, source: str, target: Path) -> None:
        from alambique.tasks.text_classify.adopt import adopt

        adopt(source, target)

    def data(self, root: Path) -> Texts:
        from alambique.tasks.text.data import Texts

        return Texts.load(root)

    def facts(self, root: Path, params: Params) -> Facts:
        from alambique.tasks.text.contract import labelled_facts

        return labelled_facts(self.data(root), params.validation.min_texts_per_class)

    def plots(self, project: Path, params: Params, board: Leaderboard) -> list[tuple[str, str]]:
        from alambique.tasks.text_classify.pictures import confusion

        return confusion(project, board)

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        from alambique.tasks.classification.results import resample

        return resample(evaluations)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        return [("int64", [1, -1])], [("float32", [1, len(card["classes"])])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.text_classify.predict import load

        predict = load(folder, threads)
        return lambda ids: predict(np.asarray(ids))


TEXT_CLASSIFY = TextClassify()
