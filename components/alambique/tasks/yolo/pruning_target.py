"""What pruning cuts, of a full network and of a narrow one: multiply-accumulates, parameters, or latency."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ultralytics.nn.tasks import DetectionModel

from alambique import runtimes
from alambique.config.detect import Target
from alambique.layout import WEIGHTS
from alambique.process.timing import measure, pinned
from alambique.runtimes.base import Program
from alambique.tasks.yolo import network, upstream
from alambique.tasks.yolo.export import exportable

UNITS = {"macs": "multiply-accumulates", "parameters": "parameters", "latency": "ms an image"}

TOLERANCES = {"macs": 0.03, "parameters": 0.03, "latency": 0.05}
"""How far the removed share may lie from the wanted one: widths come in steps, and clocks are not exact."""

WARMUP = 10
RUNS = 100
"""Of each network, in turn. Whatever else the machine does only adds to a time, so that the least one tells best.

On two cores with eight busy processes the ratio of the least ones repeats to 0.03, that of the medians to 0.3.
"""


class Costs(NamedTuple):
    """Of the full network and of the narrow one, in the target's unit."""

    full: float
    narrow: float

    @property
    def removed(self) -> float:
        """The share that the narrow one is without."""
        return 1 - self.narrow / self.full


Compare = Callable[[DetectionModel], Costs]
"""Measures a narrow network beside the full one."""


def against(full: DetectionModel, target: Target, image_size: int) -> Compare:
    """What compares narrow networks with `full`.

    Latency is that of the ONNX file which would be deployed, in FP32 on ONNX Runtime with one thread, both networks in
    turn, so that whatever else the machine does falls on both alike. Weights do not matter for it.

    Args:
        full: is left as it was.
        image_size: side of the input, pixels; parameters do not depend on it.
    """
    if target == "latency":
        program = _on_onnx(full, image_size)
        return lambda narrow: _timed(program, _on_onnx(narrow, image_size), image_size)
    macs = partial(network.macs, image_size=image_size)
    count: Callable[[DetectionModel], int] = macs if target == "macs" else network.parameters
    before = count(full)
    return lambda narrow: Costs(before, count(narrow))


def _on_onnx(model: DetectionModel, image_size: int) -> Program:
    runtime = runtimes.load("onnx")
    with tempfile.TemporaryDirectory() as scratch, upstream.quiet():
        weights, path = Path(scratch) / WEIGHTS, Path(scratch) / runtime.file
        network.save(model, weights, image_size)
        runtime.write(exportable(weights, image_size, model.task), path)
        return runtime.open(path, threads=1)


def _timed(full: Program, narrow: Program, image_size: int) -> Costs:
    noise = np.random.default_rng(0).random((1, 3, image_size, image_size), dtype=np.float32)
    works = {"full": partial(full, noise), "narrow": partial(narrow, noise)}
    with pinned(1):
        times = measure(works, WARMUP, RUNS)
    return Costs(*(min(times[name]) for name in works))
