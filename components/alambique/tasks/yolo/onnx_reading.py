"""How an ONNX file is used as a teacher: by what Ultralytics wrote into it, and by what is declared."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from alambique.config.detect import Layout, Onnx, Teacher
from alambique.errors import DataError
from alambique.files import read_json
from alambique.process import sandbox
from alambique.tasks.yolo import onnx_child
from alambique.tasks.yolo.preprocess import Resize

HINT = "onnx: {layout: raw or end2end, names: [...]}"


class Reading(NamedTuple):
    """How a file is used as a teacher of a dataset.

    Attributes:
        classes: the dataset's.
        columns: the file's index of each.
        known: how many classes the file has.
        image_size: side of its input, pixels.
        parameters: how many numbers its stored tensors have.
        layout, logits, input_max, resize: see `config.detect.Onnx`.
    """

    layout: Layout
    classes: list[str]
    columns: list[int]
    known: int
    image_size: int
    parameters: int
    logits: bool
    input_max: int
    resize: Resize


def describe(path: Path) -> dict[str, Any]:
    """What a file says of itself, see `onnx_child.describe`; a DataError if it cannot be read or is of another task."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "description.json"
        sandbox.run(onnx_child.__name__, path, "describe", str(target))
        said: dict[str, Any] = read_json(target)
    if said["task"] not in (None, "detect"):
        raise DataError(f"{path} is an ONNX graph of the task {said['task']}; only detectors teach from one")
    return said


def decide(weights: Path, teacher: Teacher, classes: list[str], image_size: int) -> Reading:
    """How a file is used as a teacher.

    Args:
        classes: the dataset's; matched by exact name.
        image_size: side of the input, pixels, where neither the file nor the teacher's section says one.
    Raises:
        DataError: it does not say what is not declared, lacks a class, or takes something else than a square image.
    """
    said, declared = describe(weights), teacher.onnx or Onnx()
    names = _names(weights, said, declared)
    if unclear := [name for name in classes if names.count(name) != 1]:
        raise DataError(
            f"{weights} lacks the dataset's {unclear}, or has them twice: its classes are {names}, and names are "
            "compared exactly. Rename the classes in data.yaml, or give a teacher of all of them"
        )
    return Reading(
        layout=_layout(weights, said, declared),
        classes=classes,
        columns=[names.index(name) for name in classes],
        known=len(names),
        image_size=_image_size(weights, said, teacher.input_size, image_size),
        parameters=said["parameters"],
        **declared.model_dump(include={"logits", "input_max", "resize"}),
    )


def shape_of(layout: Layout, classes: int) -> str:
    """A layout's shape, in words."""
    return f"(1, {4 + classes}, places)" if layout == "raw" else "(1, boxes, 6)"


def fits(layout: Layout, sizes: list[int], classes: int) -> bool:
    """Whether an output of these sizes may have this layout."""
    return (
        len(sizes) == 3
        and sizes[0] == 1
        and min(sizes) >= 0
        and (sizes[2] == 6 if layout == "end2end" else sizes[1] == 4 + classes)
    )


def _names(path: Path, said: dict[str, Any], declared: Onnx) -> list[str]:
    names = list(declared.names) if declared.names is not None else said["names"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} does not say its classes; name them in index order beside `weights`, {HINT}")
    return names


def _layout(path: Path, said: dict[str, Any], declared: Onnx) -> Layout:
    if declared.layout is not None:
        return declared.layout
    if said["names"] is None or said["task"] is None:  # Ultralytics writes both
        raise DataError(
            f"{path} does not say its output's layout, whose sizes are {said['output']}; give {HINT} beside `weights`: "
            f"raw is {shape_of('raw', len(declared.names or ()))}, end2end {shape_of('end2end', 0)}"
        )
    return "end2end" if said["end2end"] else "raw"


def _image_size(path: Path, said: dict[str, Any], asked: int | None, default: int) -> int:
    """Side of the input: that of the file, or where it is free the section's, the metadata's or the students'."""
    sizes: list[int | None] = said["input"]
    if len(sizes) != 4 or sizes[0] not in (None, 1) or sizes[1] not in (None, 3):
        raise DataError(f"{path} takes {sizes}, not one image (1, 3, size, size); export it with batch 1, NCHW")
    exported = said["image_size"]
    free = asked or (exported[0] if isinstance(exported, list) and len(set(exported)) == 1 else default)
    height, width = (size or free for size in sizes[2:])
    if height != width:
        raise DataError(f"{path} takes {height} × {width} pixels; export it with a square input")
    if asked not in (None, height):
        raise DataError(f"{path} takes {height} pixels, but input_size is {asked}; leave that null, or export it anew")
    return int(height)
