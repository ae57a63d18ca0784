"""What an artifact weighs, and how long it takes, before any training: both depend on the network's shape alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
import torch
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.layout import WEIGHTS, checkpoint
from alambique.process.cores import pinned
from alambique.stages import benchmark
from alambique.tasks.detect import network, sensitivity
from alambique.tasks.detect.budget import Combination, Cost
from alambique.tasks.detect.calibration import Inputs
from alambique.tasks.detect.export import FILES, TRACED, to_onnx
from alambique.tasks.detect.importance import Scorer, scorer
from alambique.tasks.detect.predict import on_noise, open_artifact
from alambique.tasks.detect.prunable import shrink
from alambique.tasks.detect.quantize import quantizer
from alambique.tasks.detect.widths import Pain, build, choose

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of `prune.target`, those that are looked at; a network of few channels has not all of them."""
PROBES = 4
"""Calibration images of a prototype: how its activations are rounded changes neither size nor latency."""


class Workshop:
    """Makes the artifact of any combination.

    Args:
        project: the project's root, with the distilled students of the first seed.
        params: its params.yaml.
        dataset: its data.
        inputs: to calibrate INT8 on.
        scratch: an empty folder.
    """

    def __init__(self, project: Path, params: Params, dataset: Dataset, inputs: Inputs, scratch: Path) -> None:
        self.project, self.params, self.dataset = project, params, dataset
        self.inputs, self.scratch = inputs, scratch
        self._pains: dict[str, Pain] = {}

    @cached_property
    def scorer(self) -> Scorer:
        """Tells which channels go, as `prune.importance` says."""
        return scorer(self.params.prune.importance, self.dataset, self.params.input_size, self.params.seed)

    def distilled(self, student: str) -> Path:
        """Folder of the student's checkpoint as it was distilled."""
        return self.project / checkpoint(student, "distilled", self.params.seeds[0])

    def pruned(self, student: str, share: float, scorer: Scorer | None = None) -> DetectionModel:
        """The distilled student without `share` of it, before it recovers.

        Args:
            scorer: tells which channels go; where it does not matter, since nothing is trained, None.
        Raises:
            ConfigurationError: its widths allow no such share.
        """
        wide = network.load(self.distilled(student) / WEIGHTS)
        how = self.params.prune
        chosen = choose(wide, how.target, share, self.params.input_size, self._pain(student, wide))
        return shrink(wide, build(wide, chosen), scorer)

    def _pain(self, student: str, wide: DetectionModel) -> Pain:
        """Which of the student's layers stay wider than others, as `prune.widths` says; scanned once."""
        if student not in self._pains:
            scan = sensitivity.asked(wide, self.dataset, self.params, self.scorer)
            self._pains[student] = sensitivity.pain(scan)
        return self._pains[student]

    def make(self, weights: Path, combination: Combination, folder: Path, inputs: Inputs) -> Path:
        """Export a checkpoint as `combination` says: FP32, or INT8 by plain quantization after training.

        Args:
            weights: the checkpoint.
            folder: where the runtime's files go, and nothing else.
            inputs: to calibrate on.
        Returns:
            the file that the runtime opens.
        """
        folder.mkdir(parents=True)
        path, size = folder / FILES[combination.runtime], self.params.input_size
        if combination.runtime in TRACED:
            TRACED[combination.runtime](weights, size, path)
            return path
        graph, tool = self._graph(weights), quantizer(combination.runtime)
        if combination.precision == "int8":
            tool.quantize(graph, inputs, path)
        else:
            tool.export(graph, path)
        return path

    def _graph(self, weights: Path) -> onnx.ModelProto:
        """The checkpoint's graph, which several artifacts share."""
        path = self.scratch / "graphs" / weights.relative_to(weights.anchor).with_suffix(".onnx")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            onnx.save(to_onnx(weights, self.params.input_size), path)
        return onnx.load(path)

    def costs(self) -> tuple[dict[Combination, Cost], dict[str, Any]]:
        """Size, and the latency of all prototypes taking turns, as `benchmark` times candidates.

        Returns:
            the cost of every combination that there is; processor, threads, cores and runs.
        """
        settings, size = self.params.benchmark, self.params.input_size
        files = dict(self._prototypes())
        before = torch.get_num_threads()
        with pinned(settings.threads) as cores:
            runners = {
                each.words: on_noise(open_artifact(path, each.runtime, settings.threads), size)
                for each, path in files.items()
            }
            times = benchmark.measure(runners, settings.warmup, settings.runs)
        torch.set_num_threads(before)  # an engine on torch has set it for the whole process
        conditions = {"cpu": benchmark.cpu(), "threads": settings.threads, "cores": cores, "runs": settings.runs}
        return {
            each: _cost(benchmark.summarize(times[each.words]), path.parent) for each, path in files.items()
        }, conditions

    def _prototypes(self) -> Iterator[tuple[Combination, Path]]:
        for student in self.params.students:
            for share in SHARES:
                folder = self.scratch / "prototypes" / student / str(share)
                try:
                    model = self.pruned(student, share) if share else network.load(self.distilled(student) / WEIGHTS)
                except ConfigurationError:
                    continue  # this network's widths come in steps too large for it
                folder.mkdir(parents=True)
                network.save(model, folder / WEIGHTS, self.params.input_size)
                for runtime, precision in self._targets():
                    combination = Combination(student, share, runtime, precision)
                    target = folder / f"{runtime}-{precision}"
                    yield combination, self.make(folder / WEIGHTS, combination, target, self.inputs[:PROBES])

    def _targets(self) -> Iterator[tuple[str, str]]:
        for runtime in self.params.runtimes:
            yield runtime, "fp32"
            if runtime in self.params.int8:
                yield runtime, "int8"


def _cost(latency: Mapping[str, float], folder: Path) -> Cost:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Cost(latency["p50_ms"], latency["p95_ms"], size / 1e6)
