"""A network as runtimes' converters take it: one image in, its final objects out, best first.

Runtimes that start from an ONNX graph get Ultralytics' ONNX export, the same for all, so names, shapes and meaning
agree between them; the others trace the torch module.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules import Attention, Detect

from alambique.layout import WEIGHTS
from alambique.runtimes.base import Array, Exportable, Program, TensorSpec
from alambique.tasks.yolo import network, upstream
from alambique.tasks.yolo.dataset import HeadName
from alambique.tasks.yolo.export_head import end_to_end, final_objects
from alambique.tasks.yolo.preprocess import DESCRIPTION

OPSET = 17
"""ONNX Runtime's static quantization refuses 21 and above; runtimes of the last four years read this one."""


def exportable(weights: Path, image_size: int, head: HeadName) -> Exportable:
    """A checkpoint's network for converters; nothing is written beside it. `image_size`: side of the input, pixels."""
    return Exportable(
        graph=partial(to_onnx, weights, image_size, head),
        module=partial(to_module, weights, image_size, head),
        example=(torch.zeros(1, 3, image_size, image_size),),
        opset=OPSET,
        outputs=("output0", "output1") if head == "segment" else ("output0",),
    )


def to_onnx(weights: Path, image_size: int, head: HeadName) -> onnx.ModelProto:
    """A checkpoint as an ONNX graph: (1, 3, size, size) RGB, 0 to 1 → its final objects; see `final_objects`."""
    with tempfile.TemporaryDirectory() as scratch, upstream.quiet():
        # Ultralytics writes beside the checkpoint, under a name of its own.
        copy = Path(shutil.copyfile(weights, Path(scratch) / WEIGHTS))
        yolo = YOLO(copy)
        # Upstream's own suppression would give a box to one class only, and none below 0.25.
        nms = False if network.has_one_to_one(yolo.model) else None
        final_objects(yolo.model)
        file = yolo.export(
            format="onnx", imgsz=image_size, opset=OPSET, nms=nms, simplify=True, device="cpu", verbose=False
        )
        graph = onnx.load(file)
    # Equal weights shall give equal files.
    kept = [entry for entry in graph.metadata_props if entry.key != "date"]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    return graph


def to_module(weights: Path, image_size: int, head: HeadName, runtime: str) -> nn.Module:
    """A checkpoint's network as Ultralytics prepares one for export: fused, final objects only.

    For ncnn, which cannot choose the best boxes, it puts out every place's box and scores.

    Args:
        runtime: Ultralytics' name of the format.
    """
    # Before fusing, which drops the branch that is not chosen.
    model: Any = final_objects(network.load(weights, head)).requires_grad_(False).eval().fuse(verbose=False)
    for layer in model.modules():
        if isinstance(layer, Detect | Attention):
            layer.export, layer.format = True, runtime
    model(torch.zeros(1, 3, image_size, image_size))  # computes the anchors, which become constants
    if runtime == "ncnn":
        model.model[-1].postprocess = lambda places: places
    module: nn.Module = model
    return module


def open_checkpoint(weights: Path, head: HeadName, threads: int) -> Program:
    """A checkpoint's network on torch, called as its artifacts are."""
    torch.set_num_threads(threads)
    model: Any = end_to_end(network.load(weights, head)).eval()

    @torch.inference_mode()
    def predict(*inputs: Array) -> list[Array]:
        output = model(torch.from_numpy(inputs[0]))
        if isinstance(output, tuple):
            output = output[0]  # the rest is what training would need
        return [tensor.numpy() for tensor in (output if isinstance(output, tuple) else (output,))]

    return predict


def artifact(card: Mapping[str, Any], head: HeadName, runtime: str, tensors: Sequence[TensorSpec]) -> dict[str, Any]:
    """A card's input, output and preprocessing; `tensors` are the input, then the outputs, as the runtime has them."""
    image, output, *_ = tensors
    meaning = PLACES if runtime == "ncnn" else output_meaning(head, tuple(card.get("kpt_shape", (0, 0))))
    return {
        "image_size": card["image_size"],
        "input": image._asdict(),
        "output": {**meaning, **output._asdict()},
        "preprocessing": DESCRIPTION,
    }


PLACES = {
    "columns": ["x1", "y1", "x2", "y2", "a score for each class, in the order of `classes`"],
    "units": "boxes in input pixels, one for each place; the highest scores are the objects: no suppression needed",
}
"""Meaning of an output of which the best boxes are still to be chosen."""


def output_meaning(head: HeadName, kpt_shape: tuple[int, ...]) -> dict[str, Any]:
    """The columns of an artifact's first output, and their units."""
    box = ["x1", "y1", "x2", "y2", "score", "class"]
    order = "by falling score, one row for each object: no suppression needed"
    match head:
        case "detect":
            units = "boxes in input pixels, by falling score, one for each object: no suppression needed"
            return {"columns": box, "units": units}
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
