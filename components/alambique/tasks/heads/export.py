"""How a network with a head becomes a runtime's file, in FP32: one image in, its objects out, best first.

ONNX Runtime and OpenVINO get the same graph, Ultralytics' ONNX export.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from ultralytics.nn.modules import Attention, Detect

from alambique.config.heads import Head, Heads
from alambique.evaluation.measures import Metrics
from alambique.layout import WEIGHTS, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.detect import network
from alambique.tasks.detect.card import write_candidate_card
from alambique.tasks.detect.export import OPSET, to_onnx
from alambique.tasks.detect.signature import Signature, tensor
from alambique.tasks.heads.rows import in_whole_rows
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.traced import write_torchscript

FILES = {"onnx": "model.onnx", "openvino": "model.xml", "torchscript": "model.torchscript"}
"""The file that each runtime opens."""
EXAMPLES = Path(__file__).parent / "examples"


def export(project: Path, params: Heads, candidate: Candidate, target: Path) -> Metrics:
    """Export the pruned student in FP32 for the candidate's runtime; see `alambique.tasks.Task.export`.

    Returns:
        size_bytes, parameters, macs; opset where there is an ONNX graph.
    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    path = target / FILES[candidate.runtime]
    if candidate.runtime == "torchscript":
        signature = to_torchscript(*student_checkpoint(project, candidate.student), params.task, path)
        return describe(project, params, candidate, target, signature)
    graph = student_graph(project, candidate.student)
    write(graph, candidate.runtime, path)
    return describe(project, params, candidate, target, graph, opset=OPSET)


def student_checkpoint(project: Path, student: str) -> tuple[Path, int]:
    """The pruned student's verified weights, and the side of its input in pixels.

    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    folder = project / checkpoint(student, "pruned")
    return folder / WEIGHTS, read_card(folder)["image_size"]


def student_graph(project: Path, student: str) -> onnx.ModelProto:
    """The pruned student as an FP32 graph: see `tasks.detect.export.to_onnx`.

    Raises:
        IntegrityError: the checkpoint is not what its card says.
    """
    return to_onnx(*student_checkpoint(project, student), in_whole_rows)


def write(graph: onnx.ModelProto, runtime: str, path: Path) -> None:
    """Write a graph in FP32 as a runtime's file."""
    if runtime == "onnx":
        onnx.save(graph, path)
    else:
        save_openvino(to_openvino(graph), path)


def to_torchscript(weights: Path, image_size: int, head: Head, path: Path) -> Signature:
    """Write a TorchScript archive of a checkpoint."""
    model: Any = in_whole_rows(network.load(weights, head))  # before fusing, which drops the branch that is not chosen
    model = model.requires_grad_(False).eval().fuse(verbose=False)
    image = torch.zeros(1, 3, image_size, image_size)
    for layer in model.modules():
        if isinstance(layer, Detect | Attention):
            layer.export, layer.format = True, "torchscript"
    output = model(image)  # computes the anchors, which become constants
    write_torchscript(model, image, path)
    rows = output[0] if isinstance(output, tuple) else output
    return Signature(tensor("images", image.shape), tensor("output0", rows.shape))


def describe(
    project: Path,
    params: Heads,
    candidate: Candidate,
    target: Path,
    made: onnx.ModelProto | Signature,
    **details: Any,
) -> Metrics:
    """Write the candidate's card and example; see `tasks.detect.card.write_candidate_card`."""
    weights, _ = student_checkpoint(project, candidate.student)
    return write_candidate_card(
        project,
        candidate,
        target,
        FILES[candidate.runtime],
        made,
        answer=meaning(params.task, _kpt_shape(network.load(weights, params.task))),
        examples=EXAMPLES,
        task=params.task,
        **details,
    )


def meaning(head: Head, kpt_shape: tuple[int, int]) -> Mapping[str, Any]:
    """What the columns of an artifact's first output are."""
    box = ["x1", "y1", "x2", "y2", "score", "class"]
    order = "by falling score, one row for each object: no suppression needed"
    match head:
        case "obb":
            columns = ["x", "y", "width", "height", "score", "class", "angle"]
            return {"columns": columns, "units": f"boxes in input pixels, turned by the angle in radians; {order}"}
        case "pose":
            names = ("x", "y", "visible")[: kpt_shape[1]]
            points = [f"{name}{index}" for index in range(1, kpt_shape[0] + 1) for name in names]
            return {
                "columns": [*box, *points],
                "units": f"boxes and keypoints in input pixels; {order}",
                "kpt_shape": list(kpt_shape),
            }
    return {
        "columns": [*box, "a weight for each prototype"],
        "units": f"boxes in input pixels; {order}. The second output holds the prototypes, (1, k, size/4, size/4): an "
        "object's mask is where their weighted sum is above 0, inside its box",
    }


def _kpt_shape(model: Any) -> tuple[int, int]:
    """How many keypoints, of how many numbers each: the network's own, since an export has no dataset beside it."""
    count, numbers = getattr(model.model[-1], "kpt_shape", (0, 0))
    return int(count), int(numbers)
