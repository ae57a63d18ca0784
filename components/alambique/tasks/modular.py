"""What most tasks do alike: a module of their own for each stage, imported when the stage runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics, Resampled
from alambique.layout import Candidate
from alambique.tasks import DriftFeatures

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture


class Modular:
    """The part of `alambique.tasks.Task` that a task has by laying its modules out as others do.

    The modules are named as the stages, and have a function of the same name, which takes what the method takes;
    `distill` has `control`, too, `predict` has `runner`, `pictures` has `choose`, `inspection` has `show` and
    `show_sample`. What a task cannot do yet is refused here in words.

    Attributes:
        package: of the modules.
    """

    package: ClassVar[str]

    def _in(self, module: str, name: str) -> Any:
        return getattr(import_module(f"{self.package}.{module}"), name)

    def teacher(self, project: Path, params: Any, name: str, target: Path) -> Metrics:
        return self._in("teacher", "teacher")(project, params, name, target)  # type: ignore[no-any-return]

    def soft_labels(self, project: Path, params: Any, shard: int, target: Path) -> Metrics:
        return self._in("soft_labels", "soft_labels")(project, params, shard, target)  # type: ignore[no-any-return]

    def distill(self, project: Path, params: Any, student: str, seed: int, target: Path) -> Metrics:
        return self._in("distill", "distill")(project, params, student, seed, target)  # type: ignore[no-any-return]

    def control(self, project: Path, params: Any, student: str, seed: int, target: Path) -> Metrics:
        return self._in("distill", "control")(project, params, student, seed, target)  # type: ignore[no-any-return]

    def search(self, project: Path, params: Any, target: Path) -> Metrics:
        raise ConfigurationError(f"budget: {params.task} has no search yet; set its limits to null, and prune.ratio")

    def prune(self, project: Path, params: Any, student: str, target: Path) -> Metrics:
        return self._in("prune", "prune")(project, params, student, target)  # type: ignore[no-any-return]

    def export(self, project: Path, params: Any, candidate: Candidate, target: Path) -> Metrics:
        return self._in("export", "export")(project, params, candidate, target)  # type: ignore[no-any-return]

    def unavailable(self, runtimes: Iterable[str]) -> dict[str, str]:
        from alambique.tasks.availability import unavailable

        return unavailable(runtimes)

    def quantize(self, project: Path, params: Any, candidate: Candidate, target: Path) -> Metrics:
        return self._in("quantize", "quantize")(project, params, candidate, target)  # type: ignore[no-any-return]

    def evaluate(self, project: Path, params: Any, subject: str, target: Path) -> Metrics:
        return self._in("evaluate", "evaluate")(project, params, subject, target)  # type: ignore[no-any-return]

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        return self._in("results", "resample")(evaluations)  # type: ignore[no-any-return]

    def agreement(self, first: Path, second: Path, params: Any) -> float | None:
        return None

    def drift_features(self, checkpoint: Path, images: Sequence[Path], params: Any) -> DriftFeatures:
        raise ConfigurationError(f"drift: {params.task} cannot tell drifted production data yet")

    def pictures(self, project: Path, params: Any, board: Leaderboard) -> list[Picture]:
        return self._in("pictures", "choose")(project, board)  # type: ignore[no-any-return]

    def plots(self, project: Path, params: Any, board: Leaderboard) -> list[tuple[str, str]]:
        return []

    def relative(self, subject: Path, teacher: Path, params: Any) -> Metrics:
        return {}

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        self._in("inspection", "show")(project, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        self._in("inspection", "show_sample")(project, sample, console)

    def runner(self, folder: Path, threads: int) -> Callable[[], None]:
        return self._in("predict", "runner")(folder, threads)  # type: ignore[no-any-return]
