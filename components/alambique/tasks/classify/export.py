"""How a classifier becomes a runtime's file, in FP32: one image in, the logits of the classes out.

ONNX Runtime and OpenVINO get the same graph; the others are traced from PyTorch.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import onnxslim
import torch

from alambique.config.classify import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import WEIGHTS, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.classify import network
from alambique.tasks.classify.architectures import Classifier
from alambique.tasks.classify.card import write_candidate_card
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.traced import write_executorch, write_ncnn, write_torchscript

OPSET = 18
"""ONNX Runtime's static quantization refuses 21 and above."""
FILES = {
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "torchscript": "model.torchscript",
    "ncnn": "model.param",
    "executorch": "model.pte",
}
"""The file that each runtime opens."""
TRACED = {"torchscript": write_torchscript, "ncnn": write_ncnn, "executorch": write_executorch}
"""The runtimes whose files are not made of the ONNX graph."""


def export(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Export the pruned student in FP32 for the candidate's runtime; see `alambique.tasks.Task.export`.

    Returns:
        size_bytes, parameters, macs; opset where there is an ONNX graph.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    model, image_size = student(project, candidate.student)
    path = target / FILES[candidate.runtime]
    if candidate.runtime in TRACED:
        TRACED[candidate.runtime](model, torch.zeros(1, 3, image_size, image_size), path)
        return write_candidate_card(project, candidate, target, path.name)
    graph = to_onnx(model, image_size)
    if candidate.runtime == "onnx":
        onnx.save(graph, path)
    else:
        save_openvino(to_openvino(graph), path)
    return write_candidate_card(project, candidate, target, path.name, opset=OPSET)


def student(project: Path, name: str) -> tuple[Classifier, int]:
    """The pruned student's verified network, and the side of its input in pixels.

    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    folder = project / checkpoint(name, "pruned")
    size: int = read_card(folder)["image_size"]
    return network.load(folder / WEIGHTS).model.requires_grad_(False), size


def to_onnx(model: Classifier, image_size: int) -> onnx.ModelProto:
    """A classifier as an ONNX graph: images, (1, 3, size, size), RGB, 0 to 1 → logits, (1, classes)."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            model,
            (torch.zeros(1, 3, image_size, image_size),),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    if made is None:
        raise RuntimeError("torch.onnx gave no program")
    graph: onnx.ModelProto = made.model_proto
    _forget_where(graph)
    slim: onnx.ModelProto = onnxslim.slim(graph)
    return slim


def _forget_where(graph: onnx.ModelProto) -> None:
    """Leave out the stack traces of who built each node: paths of this machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
