"""The work of the stages with a test's parameters, into a test's folder: without params.yaml and without a verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alambique import tasks
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import Ablation, Candidate
from alambique.stages import ablation as ablation_stage
from alambique.stages import control as control_stage
from alambique.stages import distill as distill_stage
from alambique.stages import evaluate as evaluate_stage
from alambique.stages import export as export_stage
from alambique.stages import prune as prune_stage
from alambique.stages import quantize as quantize_stage
from alambique.stages import soft_labels as soft_labels_stage
from alambique.stages import teacher as teacher_stage
from alambique.stages.work import Work, open_program
from alambique.tasks.cards import read_card
from alambique.tasks.yolo.decoding import rows, with_best_boxes
from factories.tiny_detection import out


def _work(module: ModuleType, params: Params, target: Path, run: Callable[[], None]) -> Metrics:
    """The metrics of a stage whose `produce` is the one of `module`."""
    results: list[Metrics] = []

    def produce(project: Path, out: Path, metrics: str, work: Work) -> None:
        results.append(work(tasks.load(params.task), params, target))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "produce", produce)
        run()
    return results[0]


def teacher(root: Path, params: Params, name: str, target: Path) -> Metrics:
    return _work(teacher_stage, params, target, lambda: teacher_stage.run(root, name))


def soft_labels(root: Path, params: Params, shard: int, target: Path) -> Metrics:
    return _work(soft_labels_stage, params, target, lambda: soft_labels_stage.run(root, str(shard)))


def all_soft_labels(root: Path, params: Params) -> None:
    """Write every shard of a project's soft labels into its own place."""
    for shard in params.soft_labels.shards:
        soft_labels(root, params, shard, out(root, f"soft_labels/{shard}"))


def distill(root: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    return _work(distill_stage, params, target, lambda: distill_stage.run(root, student, str(seed)))


def control(root: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    return _work(distill_stage, params, target, lambda: control_stage.run(root, student, str(seed)))


def ablation(root: Path, params: Params, student: str, kind: Ablation, seed: int, target: Path) -> Metrics:
    return _work(distill_stage, params, target, lambda: ablation_stage.run(root, student, kind, str(seed)))


def prune(root: Path, params: Params, student: str, target: Path) -> Metrics:
    return prune_stage.prune(root, tasks.load(params.task), params, student, target)


def export(root: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    return export_stage.export(root, tasks.load(params.task), candidate, target)


def quantize(root: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    return quantize_stage.quantize(root, tasks.load(params.task), params, candidate, target)


def evaluate(root: Path, params: Params, subject: str, target: Path) -> Metrics:
    return evaluate_stage.evaluate(root, tasks.load(params.task), params, subject, target)


def load(folder: Path, threads: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A detector's checkpoint or candidate: from one input to its final boxes, (n, 6)."""
    program = with_best_boxes(open_program(tasks.load("detect"), folder, threads), read_card(folder).get("runtime"))
    return lambda pixels: rows("detect", program(pixels))


def recipe(root: Path, params: Params) -> Any:
    """What decides the soft labels of a project."""
    task = tasks.load(params.task)
    cards = [read_card(folder) for folder in soft_labels_stage.teacher_folders(root, params)]
    return task.soft_label_recipe(cards, task.dataset(root / "data"), params)
