"""A student in INT8, for each runtime by the tool that makes it fast there.

ONNX Runtime: weights by channel beforehand, activations by each text's own range as it passes (dynamic). OpenVINO:
both beforehand by NNCF, activations by their ranges on train texts.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from alambique.config.text_classify import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import evaluate
from alambique.tasks.text_classify.card import write_candidate_card
from alambique.tasks.text_classify.encoding import Encoded
from alambique.tasks.text_classify.export import FILES, OPSET, student_model, to_onnx
from alambique.tasks.text_classify.predict import load, open_artifact

CALIBRATION = 128
"""Train texts whose activations are measured, evenly spaced in the split."""

log = logging.getLogger(__name__)


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset; fp32_top1, int8_top1, drop and max_drop on val, within_budget.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    source = project / checkpoint(candidate.student, "pruned")
    data = Texts.load(project / DATA)
    graph = to_onnx(*student_model(project, candidate.student))
    path = target / FILES[candidate.runtime]
    if candidate.runtime == "onnx":
        onnx.save(to_onnx_int8(graph), path)
    else:
        seen = evaluate.encoded(source, data, "train")
        save_openvino(to_openvino_int8(graph, seen[:: -(-len(seen) // CALIBRATION)]), path)
    found = _budget(source, candidate, path, data, params.quantize.max_drop)
    return write_candidate_card(project, candidate, target, path.name, opset=OPSET, **found)


def to_onnx_int8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with INT8 products and embeddings for ONNX Runtime."""
    with tempfile.TemporaryDirectory() as scratch:
        given, ready, made = (Path(scratch) / f"{name}.onnx" for name in ("given", "ready", "made"))
        onnx.save(graph, given)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        quantize_dynamic(ready, made, per_channel=True, weight_type=QuantType.QInt8)
        return onnx.load(made)


def to_openvino_int8(graph: onnx.ModelProto, seen: list[Encoded]) -> openvino.Model:
    """A graph in INT8 for OpenVINO.

    Args:
        seen: texts to measure the activations on.
    """
    nncf.set_log_level(logging.WARNING)
    rows = nncf.Dataset([each.ids[np.newaxis] for each in seen])
    # Not as NNCF's model_type TRANSFORMER, whose quantized embeddings OpenVINO refuses to load.
    made: openvino.Model = nncf.quantize(
        to_openvino(graph), rows, preset=nncf.QuantizationPreset.MIXED, subset_size=len(seen)
    )
    return made


def _budget(source: Path, candidate: Candidate, path: Path, data: Texts, max_drop: float) -> Metrics:
    """What the rounding costs on val, on the artifact's own runtime; warns where it is too much: gates reject."""
    own, threads = evaluate.encoded(source, data, "val"), torch.get_num_threads()
    truth = np.array([each.label for each in own])
    full, low = (
        float((evaluate.probabilities(predict, own).argmax(1) == truth).mean())
        for predict in (load(source, threads), open_artifact(path, candidate.runtime, threads))
    )
    if full - low > max_drop:
        log.warning(
            "%s: top-1 on val is %.4f, and %.4f in FP32, and quantize.max_drop allows %.4f; the artifact is kept for "
            "the gates to judge",
            candidate.name,
            low,
            full,
            max_drop,
        )
    return {
        "fp32_top1": full,
        "int8_top1": low,
        "drop": full - low,
        "max_drop": max_drop,
        "within_budget": full - low <= max_drop,
    }
