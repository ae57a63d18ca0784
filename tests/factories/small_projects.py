"""For each task the smallest project that goes through every stage: its data as people have it, and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from alambique.config.heads import Head
from alambique.demo.digits import Digits, Scenes
from alambique.demo.texts import Intents, Stories
from factories import champions, head_datasets, tiny_detection

Change = Callable[[Path, Path], None]
"""Makes a copied project unlike its champion; called with the project and the champion's folder."""


# What a runtime does to a network is its own tests' matter. Here each task goes through one that quantizes and one that
# does not, or through one alone: NNCF and torch.export cost more than all trainings together.
ONNX: dict[str, Any] = {"runtimes": ["onnx", "torchscript"], "int8": ["onnx"]}
OPENVINO: dict[str, Any] = {"runtimes": ["openvino"], "int8": ["openvino"]}


@dataclass(frozen=True)
class Small:
    """One task's.

    Attributes:
        student: its name.
        write: makes the data, in a folder which is not there yet.
        params: what params.yaml has other than the task's template.
        champions: by case, how a project can differ from the one that its champion is of: `one_class_more` where the
            task has classes, `another_vocabulary` where it has tokens.
    """

    student: str
    write: Callable[[Path], None]
    params: dict[str, Any]
    champions: Mapping[str, Change] = field(default_factory=dict)


def detect() -> Small:
    network = tiny_detection.NETWORK.model_dump()
    scenes = Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2)
    changes = {
        "input_size": 64,
        **ONNX,
        "networks": {"pico": {**network, "weights": None}},
        "teacher": {"main": {"network": network, "steps": 4}},
        "training": {"batch": 8, "learning_rate": 0.005},
        "soft_labels": {"min_score": 0.0, "max_boxes": 5},
        "distill": {"steps": 4, "min_label_probability": 0.0},
        "prune": {"steps": 4},
        "quantize": {"images": 12, "max_drop": 0.05},
        "validation": {"min_boxes_per_class": 0},
        "benchmark": {"warmup": 1, "runs": 3, "cold_starts": 1},
    }
    return Small("pico", scenes.write, changes, {"one_class_more": champions.one_class_more_in_boxes})


def text_classify() -> Small:
    changes = {
        "input_size": 24,
        **OPENVINO,
        "networks": {"small": {"layers": 2, "hidden": 32, "heads": 2, "ffn": 64, "weights": None}},
        "teacher": {
            "main": {"network": {"layers": 2, "hidden": 48, "heads": 2, "ffn": 96}, "steps": 3, "pretrain_steps": 6}
        },
        "training": {"batch": 8, "learning_rate": 0.002, "vocabulary": 300},
        "soft_labels": {"top_k": 8},
        "distill": {"steps": 5},
        "prune": {"ratio": 0.2, "steps": 6},
        "quantize": {"max_drop": 0.15},
        "benchmark": {"warmup": 1, "runs": 3, "cold_starts": 1},
    }
    return Small(
        "small",
        Intents(train=24, val=12, test=24, unlabelled=24).write,
        changes,
        {"one_class_more": champions.one_class_more_in_texts},
    )


def with_head(head: Head) -> Small:
    network = {"family": "yolo26", "scale": [0.34, 0.0625, 256]}
    scenes = Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2)
    changes = {
        "input_size": 64,
        **(OPENVINO if head == "segment" else ONNX),
        "networks": {"pico": {**network, "weights": None}},
        "teacher": {"main": {"network": network, "steps": 4}},
        "training": {"batch": 8, "learning_rate": 0.005},
        "soft_labels": {"min_score": 0.0, "max_boxes": 5},
        "distill": {"method": "hybrid", "steps": 4, "min_score": 0.0},
        "prune": {"ratio": 0.15, "steps": 4},
        "quantize": {"images": 12, "max_drop": 0.05},
        "validation": {"min_boxes_per_class": 0},
        "benchmark": {"warmup": 1, "runs": 3, "cold_starts": 1},
    }
    return Small(
        "pico",
        partial(head_datasets.write, head, scenes=scenes),
        changes,
        {"one_class_more": champions.one_class_more_in_boxes},
    )


def text() -> Small:
    network = {"layers": 1, "hidden": 96, "heads": 2, "kv_heads": 2, "ffn": 128}
    changes = {
        "input_size": 64,
        "runtimes": ["onnx"],
        "int8": ["onnx"],
        "networks": {"small": network},
        "teacher": {"main": {"network": network, "steps": 20}},
        "training": {"batch": 8, "learning_rate": 0.005, "vocabulary": 300},
        "soft_labels": {"top_k": 8},
        "distill": {"steps": 20},
        "prune": {"steps": 20, "ratio": 0.1},
        "quantize": {"max_drop": 0.05},
        "benchmark": {"warmup": 1, "runs": 3, "cold_starts": 1},
    }
    stories = Stories(train=32, val=8, test=12, unlabelled=8)
    return Small("small", stories.write, changes, {"another_vocabulary": champions.another_vocabulary})


def classify() -> Small:
    network = {"family": "yolo26-cls", "scale": [0.34, 0.125, 128]}
    changes = {
        "input_size": 32,
        **ONNX,
        "students": ["pico"],
        "networks": {"pico": {**network, "weights": None}},
        "teacher": {"main": {"network": network, "steps": 4}},
        "training": {"batch": 8, "augment": {"flip": 0.0}},
        "soft_labels": {"views": 2, "augment": {"flip": 0.0}},
        "distill": {"steps": 10},
        "prune": {"ratio": 0.38, "steps": 5},  # widths of eights leave so narrow a network little choice
        "quantize": {"images": 10, "max_drop": 0.15},  # of ten val images, one is 0.1
        "benchmark": {"warmup": 1, "runs": 3, "cold_starts": 1},
    }
    return Small(
        "pico",
        Digits(train=30, val=10, test=20, unlabelled=10, size=32).write,
        changes,
        {"one_class_more": champions.one_class_more_in_images},
    )


TASKS: dict[str, Callable[[], Small]] = {
    "detect": detect,
    "classify": classify,
    "text": text,
    "text_classify": text_classify,
    "segment": partial(with_head, "segment"),
    "pose": partial(with_head, "pose"),
    "obb": partial(with_head, "obb"),
}
