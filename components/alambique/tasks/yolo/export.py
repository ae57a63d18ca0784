"""How a detector becomes a runtime's file, in FP32: one image in, its final boxes out, best first.

ONNX Runtime, OpenVINO and TensorRT get the same graph, Ultralytics' ONNX export, so names, shapes and meaning agree
between them; the others are traced from PyTorch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import WEIGHTS, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import ptq_tensorrt
from alambique.tasks.detect.card import write_candidate_card
from alambique.tasks.detect.network import has_one_to_one
from alambique.tasks.detect.suppression import end_to_end
from alambique.tasks.detect.traced import to_coreml, to_executorch, to_ncnn, to_torchscript
from alambique.tasks.openvino_models import save_openvino, to_openvino

OPSET = 17
"""ONNX Runtime's static quantization refuses 21 and above; runtimes of the last four years read this one."""

FILES = {
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "torchscript": "model.torchscript",
    "ncnn": "model.param",
    "executorch": "model.pte",
    "engine": "model.engine",
    "coreml": "model.mlpackage",
}
"""The file that each runtime opens."""

TRACED = {"torchscript": to_torchscript, "ncnn": to_ncnn, "executorch": to_executorch, "coreml": to_coreml}
"""The runtimes whose files are not made of the ONNX graph."""


def export(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Export the pruned student in FP32 for the candidate's runtime; see `alambique.tasks.Task.export`.

    Returns:
        size_bytes, parameters, macs; opset where there is an ONNX graph.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    path = target / FILES[candidate.runtime]
    if candidate.runtime in TRACED:
        weights, image_size = student_checkpoint(project, candidate.student)
        signature = TRACED[candidate.runtime](weights, image_size, path)
        return write_candidate_card(project, candidate, target, path.name, signature)
    graph = student_graph(project, candidate.student)
    if candidate.runtime == "onnx":
        onnx.save(graph, path)
    elif candidate.runtime == "openvino":
        save_openvino(to_openvino(graph), path)
    else:
        ptq_tensorrt.export(graph, path)
    return write_candidate_card(project, candidate, target, path.name, graph, opset=OPSET)


def student_checkpoint(project: Path, student: str) -> tuple[Path, int]:
    """The pruned student's verified weights, and the side of its input in pixels.

    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    folder = project / checkpoint(student, "pruned")
    return folder / WEIGHTS, read_card(folder)["image_size"]


def student_graph(project: Path, student: str) -> onnx.ModelProto:
    """The pruned student as an FP32 graph.

    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    return to_onnx(*student_checkpoint(project, student))


def to_onnx(
    weights: Path, image_size: int, prepare: Callable[[DetectionModel], DetectionModel] = end_to_end
) -> onnx.ModelProto:
    """A checkpoint as an ONNX graph: (1, 3, size, size) RGB, 0 to 1 → (1, boxes, 6) x1, y1, x2, y2, score, class.

    Args:
        weights: a detector; nothing is written beside it.
        image_size: side of the input, pixels.
        prepare: makes the network answer with its final boxes, in place.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # Ultralytics writes beside the checkpoint, under a name of its own.
        copy = Path(shutil.copyfile(weights, Path(scratch) / WEIGHTS))
        detector = YOLO(copy)
        # Upstream's own suppression would give a box to one class only, and none below 0.25.
        nms = False if has_one_to_one(detector.model) else None
        prepare(detector.model)
        made = detector.export(
            format="onnx", imgsz=image_size, opset=OPSET, nms=nms, simplify=True, device="cpu", verbose=False
        )
        graph = onnx.load(made)
    # Equal weights shall give equal files.
    kept = [entry for entry in graph.metadata_props if entry.key != "date"]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    return graph
