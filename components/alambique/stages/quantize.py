"""Quantize the pruned student to INT8 within its accuracy budget.

Reads   data/, models/pruned/<student>/, and soft_labels/ and models/teacher/ for quantization-aware training
Writes  candidates/<student>-<runtime>-int8/, metrics/export/<student>-<runtime>-int8.json

Plain first, then of retrained weights, then with the costliest layers in floating point. Each artifact is measured on
val on its own runtime, as it would ship, against the FP32 artifact on that runtime. Training goes before the search for
layers, though it may take longer: it is paid for once, and a layer in floating point at every inference.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alambique import runtimes
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.runtimes.base import Budget, Exportable, Quantization, Runtime, StaticInt8, TensorSpec, Validation
from alambique.stages.distill import distillation_objective
from alambique.stages.export import write_candidate_card
from alambique.stages.work import produce
from alambique.tasks import Task
from alambique.tasks.cards import read_card

logger = logging.getLogger(__name__)


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
        parameters, macs, size_bytes, opset; what `report` says; what describes the calibration samples.
    """
    source, runtime = project / checkpoint(candidate.student, "pruned"), runtimes.load(candidate.runtime)
    card, dataset = read_card(source), task.dataset(project / DATA)
    network, calibration = task.exportable(source), task.calibration(source, dataset, params)
    how = task.quantization(candidate.runtime, calibration, params)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def retrain() -> Exportable:
            (folder / "weights").mkdir()
            student = task.load(source)
            objective = distillation_objective(task, student, dataset, params, project)
            task.train_int8(student, objective, calibration, dataset, params, candidate.runtime, folder / "weights")
            return task.exportable(folder / "weights")

        validation, max_drop = task.validation(source, dataset, params), params.quantize.max_drop
        retrained = retrain if getattr(params.quantize, "qat_steps", 0) else None
        attempts = within_budget(runtime, network, how, validation, max_drop, folder, retrained)
        shutil.copytree(attempts.best.path.parent, target, dirs_exist_ok=True)
    task.copy_beside(source, target)
    details = {**report(candidate.name, params.HEADLINE, attempts), **calibration.described}
    opset = {"opset": network.opset} if runtime.from_graph else {}
    return write_candidate_card(task, candidate, card, target, attempts.tensors, **opset, **details)


class Int8Artifact(NamedTuple):
    """A quantized artifact.

    Attributes:
        method: ptq, qat or accuracy_control.
        path: the file that the runtime opens, alone in its folder with those that it needs.
        headline: headline metric on val.
        float_layers: convolutions left in floating point, beside those that always are.
        retrained: whether its weights are those of the quantization-aware training.
    """

    method: str
    path: Path
    headline: float
    float_layers: list[str]
    retrained: bool = False


class QuantizationAttempts(NamedTuple):
    """All artifacts that were made to hold a budget.

    Attributes:
        budget: against the FP32 artifact of the same runtime.
        artifacts: in the order ptq, qat, accuracy_control, as far as the budget was missed.
        tensors: inputs, then outputs.
        retrained_fp32: headline metric on val of the retrained weights in FP32; None without a training.
    """

    budget: Budget
    artifacts: list[Int8Artifact]
    tensors: list[TensorSpec]
    retrained_fp32: float | None = None

    @property
    def best(self) -> Int8Artifact:
        """The most accurate, of equal ones the first: the last one where that holds the budget, as none before did."""
        return max(self.artifacts, key=lambda artifact: artifact.headline)

    @property
    def held(self) -> bool:
        """Whether the last one holds the budget."""
        return self.artifacts[-1].headline >= self.budget.floor


def within_budget(
    runtime: Runtime,
    network: Exportable,
    how: Quantization,
    validation: Validation,
    max_drop: float,
    scratch: Path,
    retrain: Callable[[], Exportable] | None = None,
) -> QuantizationAttempts:
    """Quantize until an artifact holds the budget, or nothing is left to try.

    Args:
        max_drop: of the headline metric against FP32, 0 to 1.
        scratch: an empty folder, for the artifacts.
        retrain: trains the student for INT8 and returns it; None: never.
    """

    def headline(path: Path) -> float:
        return validation.headline(runtime.open(path, torch.get_num_threads()))

    def make(method: str, write: Callable[[Path], list[str] | None], retrained: bool = False) -> Int8Artifact:
        path = scratch / method / runtime.file
        path.parent.mkdir()
        layers = write(path) or []
        return Int8Artifact(method, path, headline(path), layers, retrained)

    def fp32(exported: Exportable, name: str) -> tuple[float, list[TensorSpec]]:
        path = scratch / name / runtime.file
        path.parent.mkdir()
        tensors = runtime.write(exported, path)
        return headline(path), tensors

    full, tensors = fp32(network, "fp32")
    plain = make("ptq", partial(runtime.quantize, network, how))
    attempts = QuantizationAttempts(Budget(full, max_drop), [plain], tensors)
    searched, budget = network, attempts.budget
    if not attempts.held and retrain is not None:
        logger.info("%s: quantization-aware training", missed(attempts))
        retrained = retrain()
        exact, _ = fp32(retrained, "retrained")
        low = make("qat", partial(runtime.quantize, retrained, how), retrained=True)
        attempts = attempts._replace(artifacts=[plain, low], retrained_fp32=exact)
        # Layers are sought in the weights that lose less; but those whose FP32 misses the budget cannot
        # hold it with whatever layers in float.
        if low.headline > plain.headline and exact >= budget.floor:
            searched, budget = retrained, Budget(exact, exact - budget.floor)
    if not attempts.held and isinstance(how, StaticInt8) and runtime.accuracy_control:
        logger.info("%s: accuracy control", missed(attempts))

        def control(path: Path) -> list[str]:
            return runtime.quantize_with_accuracy_control(searched, how, path, validation, budget)

        last = make("accuracy_control", control, searched is not network)
        attempts = attempts._replace(artifacts=[*attempts.artifacts, last])
    return attempts


def missed(attempts: QuantizationAttempts) -> str:
    """In words, by how much the last artifact misses the budget."""
    last = attempts.artifacts[-1]
    drop = attempts.budget.fp32 - last.headline
    return f"INT8 by {last.method} loses {drop:.4f} on val, more than quantize.max_drop {attempts.budget.max_drop:.4f}"


def report(name: str, headline: str, attempts: QuantizationAttempts) -> dict[str, Any]:
    """What metrics and card say of the budget; warns where it is missed, since only gates reject."""
    best, budget = attempts.best, attempts.budget
    within = best.headline >= budget.floor
    if best.float_layers:
        logger.info("%s: in floating point stay %s", name, ", ".join(best.float_layers))
    if not within:
        logger.warning(
            "%s: %s on val is %.4f in INT8 and %.4f in FP32, and quantize.max_drop allows %.4f; "
            "the artifact is kept for the gates to judge",
            *(name, headline, best.headline, budget.fp32, budget.max_drop),
        )
    retrained = {} if attempts.retrained_fp32 is None else {f"retrained_fp32_{headline}": attempts.retrained_fp32}
    return {
        "method": best.method,
        "retrained": best.retrained,
        f"fp32_{headline}": budget.fp32,
        f"int8_{headline}": best.headline,
        "drop": budget.fp32 - best.headline,
        "max_drop": budget.max_drop,
        "within_budget": within,
        "float_layers": len(best.float_layers),
        **retrained,
        "tried": {artifact.method: artifact.headline for artifact in attempts.artifacts},
    }
