"""Detectors in ONNX: one that finds coloured squares by arithmetic alone, and exports of Ultralytics' networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from ultralytics import YOLO

from alambique import files
from alambique.tasks.yolo import upstream
from factories.tiny_detection import NOTHING

CELL = 16
CELLS = 4
SIDE = CELL * CELLS
COLOURS = ["red", "green", "blue"]
URI = "/given/model.onnx"


def squares(root: Path, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """A project over images of a red, a green and a blue cell of 4 × 4 on black.

    Args:
        size: of the images, width and height, pixels.
    """
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4), ("test", 4), ("unlabelled", 2)):
        for index in range(count):
            pixels, rows = np.zeros((CELLS, CELLS, 3), np.uint8), []
            for colour, cell in enumerate(random.permutation(CELLS**2)[:3]):
                y, x = divmod(int(cell), CELLS)
                pixels[y, x, colour] = 255
                rows.append(f"{colour} {(x + 0.5) / CELLS} {(y + 0.5) / CELLS} {1 / CELLS} {1 / CELLS}\n")
            image = root / f"data/images/{split}/{split}{index}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(image)
            if split != "unlabelled":
                files.write_text(root / f"data/labels/{split}/{split}{index}.txt", "".join(rows))
    splits = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test", "unlabelled"))
    files.write_text(root / "data/data.yaml", f"{splits}names: [red, green, blue]\n")
    files.write_json(root / "inputs/students/index.json", {"pico": NOTHING})
    return root


def finder(
    path: Path,
    layout: str = "raw",
    *,
    input_max: int = 1,
    logits: bool = False,
    names: list[str] | None = None,
    metadata: bool = True,
    shape: tuple[int | str, ...] = (1, 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """A graph that is sure of each cell whose mean of a colour is above 0.6 of white.

    Args:
        names: that the metadata give its outputs, which are red, green, blue.
        metadata: whether it says what Ultralytics would.
    """
    batch, _, *sides = (
        size if isinstance(size, int) else default for size, default in zip(shape, (1, 3, SIDE, SIDE), strict=True)
    )
    y, x = np.indices([side // CELL for side in sides], np.float32).reshape(2, -1) * CELL
    corners = np.stack((x, y, x + CELL, y + CELL))
    centres = np.stack((x + CELL / 2, y + CELL / 2, np.full_like(x, CELL), np.full_like(x, CELL)))
    constants = {
        "scale": np.array(20 / input_max, np.float32),
        "shift": np.array(12, np.float32),
        "flat": np.array([batch, 3, -1]),
        "centres": np.repeat(centres[None], batch, 0),
        "corners": np.repeat(corners[None], batch, 0),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[CELL] * 2, strides=[CELL] * 2),
        helper.make_node("Mul", ["means", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "shift"], ["logits"]),
        helper.make_node("Identity" if logits else "Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Reshape", ["scores", "flat"], ["places"]),
    ]
    if layout == "raw":
        nodes.append(helper.make_node("Concat", ["centres", "places"], ["output0"], axis=1))
    else:
        nodes += [
            helper.make_node("ReduceMax", ["places"], ["best"], axes=[1], keepdims=1),
            helper.make_node("ArgMax", ["places"], ["which"], axis=1, keepdims=1),
            helper.make_node("Cast", ["which"], ["class"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["corners", "best", "class"], ["columns"], axis=1),
            helper.make_node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "finder",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if metadata:
        said = {"task": "detect", "names": str(dict(enumerate(names or COLOURS))), "imgsz": str([SIDE, SIDE])}
        helper.set_model_props(model, {**said, "end2end": str(layout == "end2end")})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def give(root: Path) -> Path:
    """Name inputs/teachers/main.pt in the index, as `snapshot` does."""
    path = root / "inputs/teachers/main.pt"
    entry = {"uri": URI, "sha256": files.sha256(path), "file": path.name}
    files.write_json(path.parent / "index.json", {"main": entry})
    return path


def exported(checkpoint: Path, path: Path, *, nms: bool | None, size: int) -> Path:
    """A checkpoint as Ultralytics exports it: its raw head (`nms=None`) or final boxes (`nms=False`)."""
    copy = Path(shutil.copyfile(checkpoint, path.with_suffix(".pt")))
    with upstream.quiet():
        file = YOLO(copy).export(
            format="onnx", imgsz=size, opset=17, nms=nms, simplify=False, device="cpu", verbose=False
        )
    Path(file).rename(path)
    copy.unlink()
    return path
