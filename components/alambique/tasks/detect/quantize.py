"""How a detector becomes INT8 within an accuracy budget, for each runtime by the tool that makes it fast there.

After training first, all but the head's tail. Where that costs more mAP on val than the budget allows, the student is
trained on for INT8, if `quantize.qat_epochs` asks for it, and quantized again. Where that costs too much as well, the
layers which hurt go back to floating point. What is measured is the file that would ship, on its own runtime.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import onnx

from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import ptq_onnx, ptq_openvino, ptq_tensorrt, qat
from alambique.tasks.detect.calibration import Inputs, calibration_images, describe
from alambique.tasks.detect.card import write_candidate_card
from alambique.tasks.detect.export import FILES, OPSET, student_graph, to_onnx
from alambique.tasks.detect.preprocess import preprocess
from alambique.tasks.detect.validation import Budget, Validation

logger = logging.getLogger(__name__)


class Quantizer(Protocol):
    """One runtime's tool: what its module has to offer."""

    def export(self, graph: onnx.ModelProto, path: Path) -> None:
        """Write the runtime's file in FP32."""

    def quantize(self, graph: onnx.ModelProto, inputs: Inputs, path: Path) -> None:
        """Write it in INT8, calibrated on `inputs`."""

    def quantize_with_accuracy_control(
        self, graph: onnx.ModelProto, inputs: Inputs, path: Path, validation: Validation, budget: Budget
    ) -> list[str]:
        """Write it in INT8 but for the layers that hurt, and return their names."""


class Made(NamedTuple):
    """An INT8 artifact.

    Attributes:
        method: ptq, qat or accuracy_control.
        path: the file that the runtime opens, alone in its folder with those that it needs.
        map50_95: on val.
        float_layers: the convolutions left in floating point, beside the tail's.
        retrained: whether its weights are those of the training for INT8.
    """

    method: str
    path: Path
    map50_95: float
    float_layers: list[str]
    retrained: bool = False


class Tried(NamedTuple):
    """All that was made to hold a budget.

    Attributes:
        budget: against the student's own FP32.
        made: in this order: ptq, qat, accuracy_control, as far as the budget was missed.
        retrained_fp32: mAP50-95 on val of the retrained weights in FP32; None without a training.
    """

    budget: Budget
    made: list[Made]
    retrained_fp32: float | None = None

    @property
    def best(self) -> Made:
        """The most accurate, of equal ones the first: the last one where that holds the budget, as none before did."""
        return max(self.made, key=lambda each: each.map50_95)

    @property
    def held(self) -> bool:
        """Whether the last one holds the budget."""
        return self.made[-1].map50_95 >= self.budget.floor


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset; method (ptq, qat or accuracy_control), retrained, fp32_map50_95,
        int8_map50_95, drop and max_drop on val, within_budget, float_layers; tried, the int8_map50_95 of each method,
        and retrained_fp32_map50_95, where it was trained on; calibration_images, calibration_digest, calibration_boxes.
    Raises:
        DataError: train has too little to calibrate on, or val nothing to measure on.
        ConfigurationError: `quantize.images` is too few for the dataset's classes, nothing makes INT8 for the runtime,
            or the training diverged.
        IntegrityError: the checkpoint is not what its card says; where it is trained on, also: the soft labels are
            damaged, or were made from other images or by other teachers than today's.
    """
    tool = quantizer(candidate.runtime)
    dataset = Dataset.load(project / DATA)
    card = read_card(project / checkpoint(candidate.student, "pruned"))
    validation = Validation(dataset, card["classes"], card["image_size"], params.evaluate)
    images = calibration_images(dataset, params.quantize.images, params.seed)
    graph = student_graph(project, candidate.student)
    inputs = [preprocess(image, card["image_size"])[0] for image in images]
    with tempfile.TemporaryDirectory() as scratch:
        folder, how = Path(scratch), params.quantize
        retrain = partial(_retrained, project, params, candidate, inputs, folder) if how.qat_epochs else None
        tried = within_budget(tool, graph, inputs, validation, candidate.runtime, how.max_drop, folder, retrain)
        shutil.copytree(tried.best.path.parent, target, dirs_exist_ok=True)
    return write_candidate_card(
        project,
        candidate,
        target,
        tried.best.path.name,
        graph,
        opset=OPSET,
        **report(candidate, tried),
        **describe(dataset, images),
    )


def _retrained(project: Path, params: Params, candidate: Candidate, inputs: Inputs, scratch: Path) -> onnx.ModelProto:
    target = scratch / "weights"
    target.mkdir()
    return to_onnx(qat.learn(project, params, candidate, inputs, target), params.input_size)


def quantizer(runtime: str) -> Quantizer:
    """What makes INT8 for a runtime.

    Raises:
        ConfigurationError: nothing does.
    """
    match runtime:
        case "onnx":
            return ptq_onnx
        case "openvino":
            return ptq_openvino
        case "engine":
            return ptq_tensorrt
    raise ConfigurationError(f"int8: {runtime} has no quantizer here; take it out of `int8`")


def within_budget(
    tool: Quantizer,
    graph: onnx.ModelProto,
    inputs: Inputs,
    validation: Validation,
    runtime: str,
    max_drop: float,
    scratch: Path,
    retrain: Callable[[], onnx.ModelProto] | None = None,
) -> Tried:
    """Make INT8 artifacts until one holds the budget: plain, then of retrained weights, then with layers in float.

    Training goes before the search for layers, though it may take longer: it is paid for once, and a layer in floating
    point at every inference.

    Args:
        tool: the runtime's.
        graph: in FP32.
        inputs: to calibrate on.
        validation: measures each artifact.
        runtime: whose artifacts.
        max_drop: of mAP50-95 against FP32.
        scratch: an empty folder, for the artifacts.
        retrain: trains the student on for INT8 and returns its FP32 graph; None: never.
    """

    def make(method: str, write: Callable[[Path], list[str] | None], name: str, retrained: bool = False) -> Made:
        path = scratch / name / FILES[runtime]
        path.parent.mkdir()
        layers = write(path) or []
        return Made(method, path, validation.map50_95(path, runtime), layers, retrained)

    full = make("fp32", partial(tool.export, graph), "fp32")
    plain = make("ptq", partial(tool.quantize, graph, inputs), "ptq")
    tried = Tried(Budget(full.map50_95, max_drop), [plain])
    searched, budget = graph, tried.budget
    if not tried.held and retrain is not None:
        logger.info("%s: training on for INT8", _missed(tried))
        learned = retrain()
        exact = make("fp32", partial(tool.export, learned), "retrained")
        low = make("qat", partial(tool.quantize, learned, inputs), "qat", retrained=True)
        tried = Tried(tried.budget, [plain, low], exact.map50_95)
        # Layers are sought in the weights that lose less; but those whose FP32 misses the budget cannot
        # hold it with whatever layers in float.
        if low.map50_95 > plain.map50_95 and exact.map50_95 >= budget.floor:
            searched, budget = learned, Budget(exact.map50_95, exact.map50_95 - budget.floor)
    if not tried.held:
        logger.info("%s: looking for the layers that hurt", _missed(tried))
        control = partial(tool.quantize_with_accuracy_control, searched, inputs)
        last = make(
            "accuracy_control", lambda path: control(path, validation, budget), "control", searched is not graph
        )
        tried = tried._replace(made=[*tried.made, last])
    return tried


def _missed(tried: Tried) -> str:
    last, budget = tried.made[-1], tried.budget
    drop = budget.fp32 - last.map50_95
    return f"INT8 by {last.method} costs {drop:.4f} mAP50-95 on val, more than quantize.max_drop {budget.max_drop:.4f}"


def report(candidate: Candidate, tried: Tried) -> dict[str, Any]:
    """What the metrics and the card say of the budget; warns where it is missed, since only gates reject."""
    made, budget = tried.best, tried.budget
    within = made.map50_95 >= budget.floor
    if made.float_layers:
        logger.info("%s: in floating point stay %s", candidate.name, ", ".join(made.float_layers))
    if not within:
        logger.warning(
            "%s: mAP50-95 on val is %.4f in INT8 and %.4f in FP32, and quantize.max_drop allows %.4f; "
            "the artifact is kept for the gates to judge",
            candidate.name,
            made.map50_95,
            budget.fp32,
            budget.max_drop,
        )
    learned = {} if tried.retrained_fp32 is None else {"retrained_fp32_map50_95": tried.retrained_fp32}
    return {
        "method": made.method,
        "retrained": made.retrained,
        "fp32_map50_95": budget.fp32,
        "int8_map50_95": made.map50_95,
        "drop": budget.fp32 - made.map50_95,
        "max_drop": budget.max_drop,
        "within_budget": within,
        "float_layers": len(made.float_layers),
        **learned,
        "tried": {each.method: each.map50_95 for each in tried.made},
    }
