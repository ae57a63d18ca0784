"""Quantize the pruned student to INT8 within its accuracy budget.

Reads   data/, models/pruned/<student>/, and soft_labels/ and models/teacher/ for quantization-aware training
Writes  candidates/<student>-<runtime>-int8/, metrics/export/<student>-<runtime>-int8.json
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from alambique import runtimes
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.runtimes.base import Exportable
from alambique.stages.distill import distillation_objective
from alambique.stages.export import write_candidate_card
from alambique.stages.int8_budget import report, within_budget
from alambique.stages.work import produce
from alambique.tasks import Task
from alambique.tasks.base import Calibration
from alambique.tasks.cards import read_card


def run(project: Path, student: str, runtime: str) -> None:
    """Make the candidate <student>-<runtime>-int8.

    Raises:
        DataError: train has too little to calibrate on, or val nothing to measure on.
        ConfigurationError: the runtime's files cannot be made here, `quantize` asks for too few calibration samples, or
            the quantization-aware training diverged.
        IntegrityError: the checkpoint is not what its card says, or the soft labels are damaged.
    """
    candidate = Candidate(student, runtime, "int8")

    def work(task: Task, params: Params, target: Path) -> Metrics:
        runtimes.require_available([runtime])
        return quantize(project, task, params, candidate, target)

    produce(project, candidate.folder, f"export/{candidate.name}", work)


def quantize(project: Path, task: Task, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Write the candidate's files and card into `target`; see `run`.

    Returns:
        parameters, macs, size_bytes, opset; what `int8_budget.report` says; what describes the calibration samples.
    """
    source, runtime = project / checkpoint(candidate.student, "pruned"), runtimes.load(candidate.runtime)
    card, dataset = read_card(source), task.dataset(project / DATA)
    network, calibration = task.exportable(source), task.calibration(source, dataset, params)
    how = task.quantization(candidate.runtime, calibration, params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        retrain = None
        if getattr(params.quantize, "qat_epochs", 0):
            retrain = partial(_retrain, project, task, params, candidate, dataset, calibration, folder / "weights")
        attempts = within_budget(
            runtime, network, how, task.validation(source, dataset, params), params.quantize.max_drop, folder, retrain
        )
        shutil.copytree(attempts.best.path.parent, target, dirs_exist_ok=True)
    task.copy_beside(source, target)
    details = {**report(candidate.name, params.HEADLINE, attempts), **calibration.described}
    opset = {"opset": network.opset} if runtime.from_graph else {}
    return write_candidate_card(task, candidate, card, target, attempts.tensors, **opset, **details)


def _retrain(
    project: Path,
    task: Task,
    params: Params,
    candidate: Candidate,
    dataset: Any,
    calibration: Calibration,
    folder: Path,
) -> Exportable:
    folder.mkdir()
    network = task.load(project / checkpoint(candidate.student, "pruned"))
    objective = distillation_objective(task, network, dataset, params, project)
    task.train_int8(network, objective, calibration, dataset, params, candidate.runtime, folder)
    return task.exportable(folder)
