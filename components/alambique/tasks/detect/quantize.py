"""How a detector becomes INT8: after training, for each runtime by the tool that makes it fast there.

The head's last convolutions and all that follows them stay in float: one scale for box coordinates (hundreds of pixels)
and for scores (below one) would leave nothing of the scores.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.layout import DATA, Candidate
from alambique.tasks import Metrics
from alambique.tasks.detect.calibration import calibration_images
from alambique.tasks.detect.card import write_candidate_card
from alambique.tasks.detect.export import FILES, OPSET, save_openvino, student_graph, to_openvino
from alambique.tasks.detect.preprocess import preprocess

Inputs = list[NDArray[np.float32]]
"""Calibration inputs, each (1, 3, size, size)."""

Producers = dict[str, tuple[str, list[str]]]
"""By a node's name: its type, and the names of the nodes whose outputs it takes."""

CONVOLUTIONS = frozenset({"Conv", "Convolution", "GroupConvolution"})
QUANTIZED = ["Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split"]
"""What ONNX Runtime computes in INT8. With the convolutions alone, every activation would be turned to float and back:
no faster than FP32."""


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset, calibration_images.
    Raises:
        DataError: train has too little to calibrate on.
        ConfigurationError: `quantize.images` is too few for the dataset's classes.
        IntegrityError: the checkpoint is not what its card says.
    """
    images = calibration_images(Dataset.load(project / DATA), params.quantize.images, params.seed)
    graph = student_graph(project, candidate.student)
    inputs = [preprocess(image, params.image_size)[0] for image in images]
    path = target / FILES[candidate.runtime]
    if candidate.runtime == "onnx":
        onnx.save(quantize_onnx(graph, inputs), path)
    else:
        save_openvino(quantize_openvino(to_openvino(graph), inputs), path)
    return write_candidate_card(
        project, candidate, target, path.name, graph, opset=OPSET, calibration_images=len(images)
    )


def quantize_openvino(model: openvino.Model, inputs: Inputs) -> openvino.Model:
    """Quantize with NNCF: weights by channel, all of it symmetric, which is a fifth faster than with zero points."""
    nncf.set_log_level(logging.ERROR)
    producers = {
        node.get_friendly_name(): (
            node.get_type_name(),
            [value.get_source_output().get_node().get_friendly_name() for value in node.inputs()],
        )
        for node in model.get_ordered_ops()
        if node.get_type_name() != "Constant"
    }
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=float_tail(producers, model.get_results()[0].get_friendly_name())),
    )


def quantize_onnx(graph: onnx.ModelProto, inputs: Inputs) -> onnx.ModelProto:
    """Quantize with ONNX Runtime: weights symmetric by channel, activations unsigned (on x86 the fastest)."""
    makers = {output: node.name for node in graph.graph.node for output in node.output}
    producers = {
        node.name: (node.op_type, [makers[name] for name in node.input if name in makers]) for node in graph.graph.node
    }
    with tempfile.TemporaryDirectory() as scratch:
        given, prepared, made = (Path(scratch) / f"{name}.onnx" for name in ("given", "prepared", "made"))
        onnx.save(graph, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            _Reader(graph.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED,
            nodes_to_exclude=float_tail(producers, makers[graph.graph.output[0].name]),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Ranges as they are on average: a single outlier would coarsen them for every image.
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(made)


def float_tail(producers: Producers, output: str) -> list[str]:
    """The nodes between `output` and the convolutions it comes from, these included, sorted by name."""
    found: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in found or name not in producers:
            continue
        found.add(name)
        kind, sources = producers[name]
        if kind not in CONVOLUTIONS:
            waiting += sources
    return sorted(found)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the inputs to ONNX Runtime one by one."""

    def __init__(self, name: str, inputs: Inputs) -> None:
        self.remaining = ({name: each} for each in inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self.remaining, None)
