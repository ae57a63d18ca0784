"""OpenVINO's models, whatever they compute: equal weights give equal files."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import onnx
import openvino


def to_openvino(graph: onnx.ModelProto) -> openvino.Model:
    """The same graph for OpenVINO, in FP32."""
    return _renamed(openvino.convert_model(BytesIO(graph.SerializeToString())))


def save_openvino(model: openvino.Model, path: Path) -> None:
    """Write a model's .xml and, beside it, its .bin; weights keep their precision."""
    openvino.save_model(_renamed(model), path, compress_to_fp16=False)


def _renamed(model: openvino.Model) -> openvino.Model:
    # OpenVINO names what has no name by a counter of the process; equal weights shall give equal files.
    for index, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    return model
