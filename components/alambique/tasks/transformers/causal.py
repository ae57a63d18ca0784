"""Causal language models for chat and completion: any of Hugging Face's as teacher, Llamas as students."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text import Params
from alambique.evaluation.measures import Measure, Metrics
from alambique.tasks import Ability, Facts, Tensors
from alambique.tasks.modular import Modular

if TYPE_CHECKING:
    from alambique.tasks.text.data import Texts


class CausalText(Modular):
    """The task protocol for language models."""

    package = "alambique.tasks.text"
    about: ClassVar[str] = "go on with texts, answer in chats: Llamas, from any causal language model"
    samples: ClassVar[str] = "texts"
    measures: ClassVar[Mapping[str, Measure]] = {
        "accuracy": Measure("accuracy", shown=True, about="share of the tokens that were held the likeliest"),
        "perplexity": Measure(
            "perplexity", "number", lower_is_better=True, shown=True, about="e to the mean nats a token costs"
        ),
        "kl": Measure(
            "KL to teacher",
            "number",
            lower_is_better=True,
            shown=True,
            about="nats a token, estimated from the likeliest tokens of both; the rest is taken as even",
        ),
        "agreement": Measure("as the teacher", about="share of the tokens that the teacher holds the likeliest, too"),
        "tokens_per_second": Measure(
            "tokens/s", "number", shown=True, about="one after the other, after half a text, on one core"
        ),
    }
    by_class: ClassVar[Mapping[str, Measure]] = {}
    methods: ClassVar[tuple[str, ...]] = ("soft", "sequence", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def adopt(self, source: str, target: Path) -> None:
        from alambique.tasks.text.adopt import adopt

        adopt(source, target)

    def data(self, root: Path) -> Texts:
        from alambique.tasks.text.data import Texts

        return Texts.load(root)

    def facts(self, root: Path, params: Params) -> Facts:
        from alambique.tasks.text.contract import facts

        return facts(self.data(root))

    def relative(self, subject: Path, teacher: Path, params: Params) -> Metrics:
        from alambique.tasks.text.relative import relative

        return relative(subject, teacher)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        return [("int64", [1, -1])], [("float32", [1, -1, card["vocabulary"]])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.text.predict import load

        predict = load(folder, threads)
        return lambda ids: predict(np.asarray(ids)[0])[np.newaxis]


TEXT = CausalText()
