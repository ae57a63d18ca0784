"""How a network with a head becomes INT8: after training, all but the head's tail, and what that costs on val."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from alambique.config.heads import Heads
from alambique.errors import ConfigurationError, DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import average_precision, ptq_onnx, ptq_openvino
from alambique.tasks.detect.calibration import calibration_images
from alambique.tasks.detect.calibration import describe as describe_images
from alambique.tasks.detect.export import OPSET
from alambique.tasks.detect.preprocess import preprocess
from alambique.tasks.heads import engines
from alambique.tasks.heads.evaluate import Judge
from alambique.tasks.heads.export import FILES, describe, student_checkpoint, student_graph
from alambique.tasks.heads.shapes import Shapes

logger = logging.getLogger(__name__)


def quantize(project: Path, params: Heads, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    What misses the budget is kept, with a warning: the gates judge it.

    Returns:
        size_bytes, parameters, macs, opset; method (ptq), fp32_map50_95, int8_map50_95, drop and max_drop on val,
        within_budget; calibration_images, calibration_digest, calibration_boxes.
    Raises:
        DataError: train has too little to calibrate on, or val nothing to measure on.
        ConfigurationError: `quantize.images` is too few for the dataset's classes, or nothing makes INT8 for the
            runtime.
        IntegrityError: the checkpoint is not what its card says.
    """
    tools = {"onnx": ptq_onnx.quantize, "openvino": ptq_openvino.quantize}
    if candidate.runtime not in tools:
        raise ConfigurationError(f"int8: {candidate.runtime} has no quantizer here; take it out of `int8`")
    data = Shapes.of(project / DATA, params.task)
    _, size = student_checkpoint(project, candidate.student)
    images = calibration_images(data, params.quantize.images, params.seed)
    inputs = [preprocess(image, size)[0] for image in images]
    path = target / FILES[candidate.runtime]
    graph = student_graph(project, candidate.student)
    tools[candidate.runtime](graph, inputs, path)
    return describe(
        project,
        params,
        candidate,
        target,
        graph,
        opset=OPSET,
        **_cost(project, params, candidate, path, data),
        **describe_images(data, images),
    )


def _cost(project: Path, params: Heads, candidate: Candidate, path: Path, data: Shapes) -> dict[str, Any]:
    """What INT8 costs on val, against the checkpoint."""
    folder = project / checkpoint(candidate.student, "pruned")
    threads, card = torch.get_num_threads(), read_card(folder)
    fp32, int8 = (
        _map50_95(Judge(predict, card, folder, data, params.evaluate), data)
        for predict in (engines.load(folder, threads), engines.open_artifact(path, candidate.runtime, threads))
    )
    drop, allowed = fp32 - int8, params.quantize.max_drop
    if drop > allowed:
        logger.warning(
            "%s: mAP50-95 on val is %.4f in INT8 and %.4f in FP32, and quantize.max_drop allows %.4f; "
            "the artifact is kept for the gates to judge",
            *(candidate.name, int8, fp32, allowed),
        )
    return {
        "method": "ptq",
        "fp32_map50_95": fp32,
        "int8_map50_95": int8,
        "drop": drop,
        "max_drop": allowed,
        "within_budget": drop <= allowed,
    }


def _map50_95(judge: Judge, data: Shapes) -> float:
    judged = [matched for _, _, matched, _, _ in judge.split("val")]
    score: float | None = average_precision.summarize(judged, data.classes)["map50_95"] if judged else None
    if score is None:
        raise DataError(f"{data.root}: val holds no objects; artifacts are measured there: add labelled images")
    return score
