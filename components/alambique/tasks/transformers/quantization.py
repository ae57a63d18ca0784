"""A student with weights of 8 or 4 bits, for each runtime by the tool that makes it fast there.

ONNX Runtime's MatMulNBits has a scale for every 32 weights, and rounds what it multiplies them with to 8 bits on the
fly; NNCF's compressed weights have one for every row (8 bits) or every 32 (4 bits). Embeddings are compressed as well.
"""

from __future__ import annotations

import logging
from pathlib import Path

import nncf
import numpy as np
import onnx
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from alambique.config.text import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text import evaluate
from alambique.tasks.text.card import write_candidate_card
from alambique.tasks.text.data import Texts
from alambique.tasks.text.export import FILES, OPSET, student_graph
from alambique.tasks.text.predict import load, on_texts, open_artifact

BLOCK = 32
"""Weights that share a scale."""
ROUNDED_INPUTS = 4
"""ONNX Runtime's accuracy level at which products are of integers: more than twice as fast with weights of 8 bits."""
EMBEDDING = "embedding"

log = logging.getLogger(__name__)


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student's weights for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset, bits; fp32_accuracy, int8_accuracy, drop and max_drop on val,
        within_budget.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
        ConfigurationError: the student is not built as a Llama.
    """
    how, graph = params.quantize, student_graph(project, candidate.student)
    path = target / FILES[candidate.runtime]
    if candidate.runtime == "onnx":
        onnx.save(to_onnx_bits(graph, how.bits), path)
    else:
        to_openvino_bits(graph, how.bits, path)
    found = _budget(project, candidate, path, how.max_drop)
    return write_candidate_card(project, candidate, target, path.name, how.bits, opset=OPSET, **found)


def to_onnx_bits(graph: onnx.ModelProto, bits: int) -> onnx.ModelProto:
    """A graph with weights of 8 or 4 bits for ONNX Runtime."""
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    tool = MatMulNBitsQuantizer(copy, bits, BLOCK, accuracy_level=ROUNDED_INPUTS)
    tool.process()
    made: onnx.ModelProto = tool.model.model
    _compress_embedding(made)
    return made


def to_openvino_bits(graph: onnx.ModelProto, bits: int, path: Path) -> None:
    """Write a graph with weights of 8 or 4 bits for OpenVINO."""
    model = to_openvino(graph)
    if bits == 8:
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    else:
        model = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=BLOCK,
            ratio=1.0,
            all_layers=True,
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
            ),
        )
    save_openvino(model, path)


def _compress_embedding(graph: onnx.ModelProto) -> None:
    """Keep each token's vector in 8 bits with a scale of its own: looked up, then multiplied.

    MatMulNBits knows products alone, and its tool look-ups in 4 bits alone, which cost too much of so small a part.
    """
    initializers = {each.name: each for each in graph.graph.initializer}
    (lookup,) = (
        node
        for node in graph.graph.node
        if node.op_type == "Gather" and EMBEDDING in node.input[0] and node.input[0] in initializers
    )
    weights = onnx.numpy_helper.to_array(initializers[lookup.input[0]])
    scale = np.maximum(np.abs(weights).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    rounded = np.rint(weights / scale).astype(np.int8)
    graph.graph.initializer.remove(initializers[lookup.input[0]])
    graph.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(rounded, f"{EMBEDDING}_rounded"),
            onnx.numpy_helper.from_array(scale, f"{EMBEDDING}_scale"),
        ]
    )
    ids, result = lookup.input[1], lookup.output[0]
    nodes = [
        onnx.helper.make_node("Gather", [f"{EMBEDDING}_rounded", ids], [f"{EMBEDDING}_found"], axis=0),
        onnx.helper.make_node("Cast", [f"{EMBEDDING}_found"], [f"{EMBEDDING}_float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Gather", [f"{EMBEDDING}_scale", ids], [f"{EMBEDDING}_factor"], axis=0),
        onnx.helper.make_node("Mul", [f"{EMBEDDING}_float", f"{EMBEDDING}_factor"], [result]),
    ]
    place = list(graph.graph.node).index(lookup)
    graph.graph.node.remove(lookup)
    for offset, node in enumerate(nodes):
        graph.graph.node.insert(place + offset, node)


def _budget(project: Path, candidate: Candidate, path: Path, max_drop: float) -> Metrics:
    """What the rounding costs on val, on the artifact's own runtime; warns where it is too much: gates reject."""
    source = project / checkpoint(candidate.student, "pruned")
    sizes = read_card(source)["network"]
    own = evaluate.encoded(source, Texts.load(project / DATA), "val")
    past = (sizes["layers"], sizes["kv_heads"], sizes["head_width"])
    threads = torch.get_num_threads()
    artifact = on_texts(open_artifact(path, candidate.runtime, threads, past))
    full, low = (
        evaluate.figures(evaluate.foretell(predict, own, 1))["accuracy"]
        for predict in (load(source, threads), artifact)
    )
    if full - low > max_drop:
        log.warning(
            "%s: accuracy on val is %.4f, and %.4f in FP32, and quantize.max_drop allows %.4f; the artifact is kept "
            "for the gates to judge",
            candidate.name,
            low,
            full,
            max_drop,
        )
    return {
        "fp32_accuracy": full,
        "int8_accuracy": low,
        "drop": full - low,
        "max_drop": max_drop,
        "within_budget": full - low <= max_drop,
    }
