"""Causal language models for chat and completion: any of Hugging Face's as teacher, Llamas as students."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text import Params
from alambique.errors import ConfigurationError
from alambique.layout import Candidate
from alambique.tasks import Ability, Facts, Interval, Measure, Metrics, Observed, Tensors

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.report.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.tasks.text.data import Texts


class CausalText:
    """The task protocol for language models: one module each, imported when its stage runs."""

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
            about="nats a token, from the likeliest tokens of both; a lower bound of that over the vocabulary",
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

    def teacher(self, project: Path, params: Params, name: str, target: Path) -> Metrics:
        from alambique.tasks.text.teacher import teacher

        return teacher(project, params, name, target)

    def soft_labels(self, project: Path, params: Params, shard: int, target: Path) -> Metrics:
        from alambique.tasks.text.soft_labels import soft_labels

        return soft_labels(project, params, shard, target)

    def distill(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.text.distill import distill

        return distill(project, params, student, seed, target)

    def control(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.text.distill import control

        return control(project, params, student, seed, target)

    def search(self, project: Path, params: Params, target: Path) -> Metrics:
        raise ConfigurationError("budget: text has no search yet; take its limits out of params.yaml")

    def prune(self, project: Path, params: Params, student: str, target: Path) -> Metrics:
        from alambique.tasks.text.prune import prune

        return prune(project, params, student, target)

    def export(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.text.export import export

        return export(project, params, candidate, target)

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        return {}

    def quantize(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.text.quantize import quantize

        return quantize(project, params, candidate, target)

    def evaluate(self, project: Path, params: Params, subject: str, target: Path) -> Metrics:
        from alambique.tasks.text.evaluate import evaluate

        return evaluate(project, params, subject, target)

    def gain(self, first: Sequence[Path], second: Sequence[Path]) -> Interval:
        from alambique.tasks.text.bootstrap import gain

        return gain(first, second)

    def intervals(
        self, evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Interval]:
        from alambique.tasks.text.bootstrap import intervals

        return intervals(evaluations, pairs)

    def agreement(self, first: Path, second: Path, params: Params) -> float | None:
        return None

    def observe(self, checkpoint: Path, images: Sequence[Path], params: Params) -> Observed:
        raise ConfigurationError("drift: text cannot tell drifted production data yet; take the drift DAG off")

    def headline(self, evaluation: Path) -> Interval:
        from alambique.tasks.text.bootstrap import headline

        return headline(evaluation)

    def pictures(self, project: Path, params: Params, board: Leaderboard) -> list[Picture]:
        from alambique.tasks.text.pictures import choose

        return choose(project, board)

    def plots(self, project: Path, params: Params, board: Leaderboard) -> list[tuple[str, str]]:
        return []

    def relative(self, subject: Path, teacher: Path, params: Params) -> Metrics:
        from alambique.tasks.text.relative import relative

        return relative(subject, teacher)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        from alambique.tasks.text.inspection import show

        show(project, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        from alambique.tasks.text.inspection import show_sample

        show_sample(project, sample, console)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        return [("int64", [1, -1])], [("float32", [1, -1, card["vocabulary"]])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.text.predict import load

        predict = load(folder, threads)
        return lambda ids: predict(np.asarray(ids)[0])[np.newaxis]

    def runner(self, folder: Path, threads: int) -> Callable[[], None]:
        from alambique.tasks.text.predict import runner

        return runner(folder, threads)


TEXT = CausalText()
