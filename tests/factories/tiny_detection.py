"""A project small enough to train in a second: scenes of 64 px, and detectors of some 60,000 parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique import config, files
from alambique.config.detect import Network, Params

NETWORK = Network(scale=(0.34, 0.0625, 256))
FAMILIES = {
    "yolo26": NETWORK,
    "yolo11": Network(family="yolo11", scale=(0.34, 0.0625, 256)),
    "yolov8": Network(family="yolov8", scale=(0.34, 0.0625, 256)),
}
CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NOTHING = {"uri": None, "sha256": None, "file": None}


def params(**changes: Any) -> Params:
    """`params.yaml` of the tiny project; a section that is given replaces the one here."""
    network = NETWORK.model_dump()
    return config.parse(
        {
            "project": "tiny",
            "input_size": 64,
            "students": ["pico"],
            "runtimes": ["onnx"],
            "int8": ["onnx"],
            "networks": {"pico": network},
            "teachers": ["main"],
            "teacher": {"main": {"network": network, "steps": 3}},
            "training": {"batch": 8, "learning_rate": 0.005, "val_interval": 3, "patience": None},
            # A teacher of three steps is sure of nothing: every box counts, or there would be none.
            "soft_labels": {"shards": [0, 1], "min_score": 0.0, "max_boxes": 5},
            "distill": {"steps": 4, "min_label_probability": 0.0},
            **changes,
        },
        "params.yaml",
    )


def project(root: Path, scenes: Path) -> Path:
    """A project over the shared scenes, with no weights to start from."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data").symlink_to(scenes)
    files.write_json(root / "inputs/teachers/index.json", {"main": NOTHING})
    files.write_json(root / "inputs/students/index.json", {"pico": NOTHING})
    return root


def out(root: Path, path: Path | str) -> Path:
    """A stage's empty out."""
    folder = root / path
    folder.mkdir(parents=True)
    return folder
