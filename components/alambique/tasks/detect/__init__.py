"""Object detection with YOLO26, YOLO11 and YOLOv8."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from alambique.config import Params
from alambique.layout import Candidate
from alambique.tasks import Interval, Metrics, Observed


class Detect:
    """The task protocol for detectors: one module each, imported when its stage runs."""

    def teacher(self, project: Path, params: Params, name: str, target: Path) -> Metrics:
        from alambique.tasks.detect.teacher import teacher

        return teacher(project, params, name, target)

    def soft_labels(self, project: Path, params: Params, shard: int, target: Path) -> Metrics:
        from alambique.tasks.detect.soft_labels import soft_labels

        return soft_labels(project, params, shard, target)

    def distill(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.detect.distill import distill

        return distill(project, params, student, seed, target)

    def control(self, project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
        from alambique.tasks.detect.distill import control

        return control(project, params, student, seed, target)

    def search(self, project: Path, params: Params, target: Path) -> Metrics:
        from alambique.tasks.detect.search import search

        return search(project, params, target)

    def prune(self, project: Path, params: Params, student: str, target: Path) -> Metrics:
        from alambique.tasks.detect.prune import prune

        return prune(project, params, student, target)

    def export(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.detect.export import export

        return export(project, params, candidate, target)

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        from alambique.tasks.detect.availability import unavailable

        return unavailable(runtimes)

    def quantize(self, project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
        from alambique.tasks.detect.quantize import quantize

        return quantize(project, params, candidate, target)

    def evaluate(self, project: Path, params: Params, subject: str, target: Path) -> Metrics:
        from alambique.tasks.detect.evaluate import evaluate

        return evaluate(project, params, subject, target)

    def gain(self, first: Sequence[Path], second: Sequence[Path]) -> Interval:
        from alambique.tasks.detect.bootstrap import gain

        return gain(first, second)

    def intervals(
        self, evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Interval]:
        from alambique.tasks.detect.bootstrap import intervals

        return intervals(evaluations, pairs)

    def agreement(self, first: Path, second: Path, params: Params) -> float | None:
        from alambique.tasks.detect.field import agreement

        return agreement(first, second, params.evaluate)

    def observe(self, checkpoint: Path, images: Sequence[Path], params: Params) -> Observed:
        from alambique.tasks.detect.watch import observe

        return observe(checkpoint, images, params.evaluate)

    def headline(self, evaluation: Path) -> Interval:
        from alambique.tasks.detect.bootstrap import headline

        return headline(evaluation)

    def runner(self, folder: Path, image_size: int, threads: int) -> Callable[[], None]:
        from alambique.tasks.detect.predict import runner

        return runner(folder, image_size, threads)


DETECT = Detect()
