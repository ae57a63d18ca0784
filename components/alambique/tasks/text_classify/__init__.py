"""Classifiers of texts, as of intents or sentiments: any of Hugging Face's encoders as teacher, BERTs as students."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.text_classify import Params
from alambique.errors import ConfigurationError
from alambique.layout import Candidate
from alambique.tasks import Ability, Facts, Interval, Measure, Metrics, Observed, Tensors, paired
from alambique.tasks.classification.metrics import BY_CLASS, MEASURES

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.report.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.tasks.text.data import Texts


class TextClassify:
    """The task protocol for classifiers of texts: one module each, imported when its stage runs."""

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

    def teacher(self, project: Path, params: Params, name: str, target: Path) -> Metrics:
        from alambique.tasks.text_classify.teacher import teacher

        return teacher(project, params, name, target)

    def soft_labels(self, project: Path, params: Params, shard: int, target: Path) -> Metrics:
        from alambique.tasks.text_classify.soft_labels import soft_labels

        return soft_labels(project, params, shard, target)

    def distill(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.text_classify.distill import distill

        return distill(project, params, student, seed, target)

    def control(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.text_classify.distill import control

        return control(project, params, student, seed, target)

    def search(self, project: Path, params: Params, target: Path) -> Metrics:
        raise ConfigurationError("budget: text_classify has no search yet; take its limits out of params.yaml")

    def prune(self, project: Path, params: Params, student: str, target: Path) -> Metrics:
        from alambique.tasks.text_classify.prune import prune

        return prune(project, params, student, target)

    def export(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.text_classify.export import export

        return export(project, params, candidate, target)

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        return {}

    def quantize(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.text_classify.quantize import quantize

        return quantize(project, params, candidate, target)

    def evaluate(self, project: Path, params: Params, subject: str, target: Path) -> Metrics:
        from alambique.tasks.text_classify.evaluate import evaluate

        return evaluate(project, params, subject, target)

    def gain(self, first: Sequence[Path], second: Sequence[Path]) -> Interval:
        from alambique.tasks.classification.results import resample

        return paired.gain(resample, first, second)

    def intervals(
        self, evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Interval]:
        from alambique.tasks.classification.results import resample

        return paired.intervals(resample, evaluations, pairs)

    def agreement(self, first: Path, second: Path, params: Params) -> float | None:
        return None

    def observe(self, checkpoint: Path, images: Sequence[Path], params: Params) -> Observed:
        raise ConfigurationError("drift: text_classify cannot tell drifted production data yet; take the drift DAG off")

    def headline(self, evaluation: Path) -> Interval:
        from alambique.tasks.classification.results import resample

        return paired.headline(resample, evaluation)

    def pictures(self, project: Path, params: Params, board: Leaderboard) -> list[Picture]:
        from alambique.tasks.text_classify.pictures import choose

        return choose(project, board)

    def plots(self, project: Path, params: Params, board: Leaderboard) -> list[tuple[str, str]]:
        from alambique.tasks.text_classify.pictures import confusion

        return confusion(project, board)

    def relative(self, subject: Path, teacher: Path, params: Params) -> Metrics:
        return {}

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        from alambique.tasks.text_classify.inspection import show

        show(project, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        from alambique.tasks.text_classify.inspection import show_sample

        show_sample(project, sample, console)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        return [("int64", [1, -1])], [("float32", [1, len(card["classes"])])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.text_classify.predict import load

        predict = load(folder, threads)
        return lambda ids: predict(np.asarray(ids))

    def runner(self, folder: Path, threads: int) -> Callable[[], None]:
        from alambique.tasks.text_classify.predict import runner

        return runner(folder, threads)


TEXT_CLASSIFY = TextClassify()
