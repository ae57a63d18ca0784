"""Artifacts of any combination: before training for their cost, as size and latency depend on a network's shape alone,
and after a short recovery for their accuracy."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from alambique import runtimes
from alambique.config import Params
from alambique.errors import ConfigurationError
from alambique.layout import DATA, checkpoint
from alambique.process import timing
from alambique.process.events import EVENTS_FILE
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.process.timing import pinned
from alambique.runtimes.base import Exportable
from alambique.stages.prune import recover
from alambique.stages.search.budget_choice import Combination, Cost
from alambique.stages.work import write_checkpoint_card
from alambique.tasks import Task
from alambique.tasks.base import Network
from alambique.tasks.cards import read_card
from alambique.tasks.trainer_state import NO_PRIOR

logger = logging.getLogger(__name__)

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of `prune.target`, those that are tried; a network of few channels does not allow all of them."""
COST_SAMPLES = 4
"""Calibration samples where cost alone is measured: how activations are rounded changes neither size nor latency."""


class ArtifactFactory:
    """Makes the artifact of any combination of distilled students of the first seed, in an empty folder `scratch`."""

    def __init__(self, project: Path, task: Task, params: Params, scratch: Path) -> None:
        self.project, self.task, self.params, self.scratch = project, task, params, scratch
        self.dataset = task.dataset(project / DATA)
        self.distilled_network = cache(lambda student: task.load(self.distilled(student)))
        self.calibration = cache(lambda student: task.calibration(self.distilled(student), self.dataset, params))
        self._sensitivities: dict[str, dict[str, Any] | None] = {}

    def distilled(self, student: str) -> Path:
        """Folder of the student's checkpoint as it was distilled."""
        return self.project / checkpoint(student, "distilled", self.params.seeds[0])

    def pruned(self, student: str, ratio: float) -> Network:
        """The distilled student without `ratio` of the target, unrecovered; a ConfigurationError if that cannot be."""
        full = self.distilled_network(student)
        measured = self._sensitivities.get(student)
        plans = self.task.pruning_plans(full, self.dataset, self.params, [ratio], measured)
        self._sensitivities[student] = plans.sensitivity
        return self.task.prune(full, full, plans.plans[0], self.dataset, self.params)

    def recovered(self, student: str, ratio: float) -> Path:
        """Folder of the student's checkpoint after a short recovery, trained once; an unpruned student needs none."""
        if not ratio:
            return self.distilled(student)
        folder = self.scratch / "recovered" / student / str(ratio)
        if not folder.exists():
            folder.mkdir(parents=True)
            steps = self.params.budget.steps
            logger.info("training %s with %.0f %% pruned for %d steps", student, 100 * ratio, steps)
            with _without_curve_and_state():
                network = self.pruned(student, ratio)
                recover(network, self.project, self.task, self.params, self.dataset, folder, steps, NO_PRIOR)
            self.write_card(folder, student)
        return folder

    def make(self, network: Exportable, combination: Combination, folder: Path, samples: int | None = None) -> Path:
        """Export a network as `combination` says: FP32, or INT8 by plain quantization after training.

        Args:
            folder: where the runtime's files go, and nothing else; it is made.
            samples: to calibrate on; None: as many as params.yaml says.
        Returns:
            the file that the runtime opens.
        """
        folder.mkdir(parents=True)
        runtime = runtimes.load(combination.runtime)
        path = folder / runtime.file
        if combination.precision == "int8":
            calibration = self.calibration(combination.student)
            calibration = calibration._replace(inputs=calibration.inputs[:samples])
            how = self.task.quantization(combination.runtime, calibration, self.params)
            runtime.quantize(network, how, path)
        else:
            runtime.write(network, path)
        return path

    def write_card(self, folder: Path, student: str) -> None:
        """Describe the checkpoint of a pruned student in its folder."""
        write_checkpoint_card(
            self.task, folder, self.params, kind="pruned", data=self.dataset.digest("train"), student=student
        )

    def costs(self) -> tuple[dict[Combination, Cost], dict[str, Any]]:
        """The cost of every combination, timed interleaved as `benchmark` does; processor, threads, cores and runs."""
        settings = self.params.benchmark
        files = dict(self._untrained())
        before = torch.get_num_threads()
        with pinned(settings.threads) as cores:
            runners = {combination.label: self._runner(combination, path) for combination, path in files.items()}
            times = timing.measure(runners, settings.warmup, settings.runs)
        torch.set_num_threads(before)  # a runtime on torch has set it for the whole process
        conditions = {"cpu": timing.cpu(), "threads": settings.threads, "cores": cores, "runs": settings.runs}
        costs = {}
        for combination, path in files.items():
            latency = timing.summarize(times[combination.label])
            size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
            costs[combination] = Cost(latency["p50_ms"], latency["p95_ms"], size / 1e6)
        return costs, conditions

    def _runner(self, combination: Combination, path: Path) -> Any:
        program = runtimes.load(combination.runtime).open(path, self.params.benchmark.threads)
        inputs = self.task.noise(read_card(self.distilled(combination.student)))
        return lambda: program(*inputs)

    def _untrained(self) -> Iterator[tuple[Combination, Path]]:
        for student in self.params.students:
            for ratio in RATIOS:
                folder = self.scratch / "untrained" / student / str(ratio)
                try:
                    network = self.pruned(student, ratio) if ratio else self.distilled_network(student)
                except ConfigurationError:
                    continue  # this network's widths come in steps too large for it
                folder.mkdir(parents=True)
                self.task.save(network, folder, self.params)
                self.write_card(folder, student)
                exportable = self.task.exportable(folder)
                for runtime, precision in self._targets():
                    combination = Combination(student, ratio, runtime, precision)
                    target = folder / f"{runtime}-{precision}"
                    yield combination, self.make(exportable, combination, target, COST_SAMPLES)

    def _targets(self) -> Sequence[tuple[str, str]]:
        return [
            (runtime, precision)
            for runtime in self.params.runtimes
            for precision in (("fp32", "int8") if runtime in self.params.int8 else ("fp32",))
        ]


@contextmanager
def _without_curve_and_state() -> Iterator[None]:
    """Several trainings in one stage have neither one curve nor one state to go on from."""
    kept = {name: os.environ.pop(name) for name in (EVENTS_FILE, RESUME_FOLDER) if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
