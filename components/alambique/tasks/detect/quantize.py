"""How a detector becomes INT8 within an accuracy budget, for each runtime by the tool that makes it fast there.

After training first, all but the head's tail. Where that costs more mAP on val than the budget allows, the layers which
hurt go back to floating point. What is measured is the file that would ship, on its own runtime.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import onnx

from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.layout import DATA, Candidate, checkpoint
from alambique.tasks import Metrics
from alambique.tasks.detect import ptq_onnx, ptq_openvino, ptq_tensorrt
from alambique.tasks.detect.calibration import Inputs, calibration_images, describe
from alambique.tasks.detect.card import write_candidate_card
from alambique.tasks.detect.export import FILES, OPSET, student_graph
from alambique.tasks.detect.predict import read_card
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
        method: ptq or accuracy_control.
        path: the file that the runtime opens, alone in its folder with those that it needs.
        map50_95: on val.
        float_layers: the convolutions left in floating point, beside the tail's.
    """

    method: str
    path: Path
    map50_95: float
    float_layers: list[str]


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset; method (ptq or accuracy_control), fp32_map50_95, int8_map50_95, drop and
        max_drop on val, within_budget, float_layers; calibration_images, calibration_digest, calibration_boxes.
    Raises:
        DataError: train has too little to calibrate on, or val nothing to measure on.
        ConfigurationError: `quantize.images` is too few for the dataset's classes, or nothing makes INT8 for the
            runtime.
        IntegrityError: the checkpoint is not what its card says.
    """
    tool = quantizer(candidate.runtime)
    dataset = Dataset.load(project / DATA)
    card = read_card(project / checkpoint(candidate.student, "pruned"))
    validation = Validation(dataset, card["classes"], card["image_size"], params.evaluate)
    images = calibration_images(dataset, params.quantize.images, params.seed)
    graph = student_graph(project, candidate.student)
    inputs = [preprocess(image, card["image_size"])[0] for image in images]
    with tempfile.TemporaryDirectory() as scratch:
        made, budget = within_budget(
            tool, graph, inputs, validation, candidate.runtime, params.quantize.max_drop, Path(scratch)
        )
        shutil.copytree(made.path.parent, target, dirs_exist_ok=True)
    return write_candidate_card(
        project,
        candidate,
        target,
        made.path.name,
        graph,
        opset=OPSET,
        **report(candidate, made, budget),
        **describe(dataset, images),
    )


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
) -> tuple[Made, Budget]:
    """The plain INT8 artifact if it holds the budget; otherwise the better of it and the controlled one.

    Args:
        tool: the runtime's.
        graph: in FP32.
        inputs: to calibrate on.
        validation: measures each artifact.
        runtime: whose artifact.
        max_drop: of mAP50-95 against FP32.
        scratch: an empty folder, for the artifacts.
    Returns:
        what was made, and the budget it was held to.
    """
    full, plain, controlled = (scratch / name / FILES[runtime] for name in ("fp32", "ptq", "accuracy_control"))
    for path in (full, plain, controlled):
        path.parent.mkdir()
    tool.export(graph, full)
    budget = Budget(validation.map50_95(full, runtime), max_drop)
    tool.quantize(graph, inputs, plain)
    first = Made("ptq", plain, validation.map50_95(plain, runtime), [])
    if first.map50_95 >= budget.floor:
        return first, budget
    logger.info(
        "INT8 costs %.4f mAP50-95 on val, more than quantize.max_drop %.4f: looking for the layers that hurt",
        budget.fp32 - first.map50_95,
        max_drop,
    )
    layers = tool.quantize_with_accuracy_control(graph, inputs, controlled, validation, budget)
    second = Made("accuracy_control", controlled, validation.map50_95(controlled, runtime), layers)
    return max(first, second, key=lambda made: made.map50_95), budget


def report(candidate: Candidate, made: Made, budget: Budget) -> dict[str, Any]:
    """What the metrics and the card say of the budget; warns where it is missed, since only gates reject."""
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
    return {
        "method": made.method,
        "fp32_map50_95": budget.fp32,
        "int8_map50_95": made.map50_95,
        "drop": budget.fp32 - made.map50_95,
        "max_drop": budget.max_drop,
        "within_budget": within,
        "float_layers": len(made.float_layers),
    }
