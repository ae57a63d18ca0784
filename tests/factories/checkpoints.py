"""Tiny subjects of an evaluation: checkpoints with random weights, and candidates exported from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from alambique import layout, tasks
from alambique.config.detect import Network
from alambique.files import sha256, write_json
from alambique.layout import CARD, DATA, Candidate
from alambique.stages.export import export
from alambique.tasks.yolo import network
from alambique.tasks.yolo.dataset import HeadName, YoloDataset
from alambique.tasks.yolo.preprocess import preprocess
from factories.tiny_detection import CLASSES, NETWORK

SIZE = 64
TEACHER = layout.teacher("main")


def checkpoint(
    project: Path,
    folder: Path = TEACHER,
    kind: str = "teacher",
    student: str | None = None,
    architecture: Network = NETWORK,
) -> Path:
    """A detector of the project's classes, with random weights; what it finds depends on what it sees."""
    dataset = YoloDataset.load(project / DATA)
    model = network.build(architecture, dataset.classes, seed=0)
    pixels = np.concatenate([preprocess(image, SIZE)[0] for image in dataset.images("train")])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.from_numpy(pixels))  # gives the batch norms their statistics, so that no signal fades
        head = model.model[-1]
        for layers in head.one2one_cv3 if network.has_one_to_one(model) else head.cv3:
            layers[-1].weight.mul_(3)  # spreads the scores, so that no figure hangs on a near tie
            layers[-1].bias.zero_()
    target = project / folder
    target.mkdir(parents=True)
    network.save(model, target / "weights.pt", SIZE)
    write_card(target, kind, student=student)
    return target


def give_student_weights(root: Path) -> Path:
    """Put initial weights of `pico` into inputs/students, as `snapshot` does; returns the file."""
    given = root / "inputs/students/pico.pt"
    network.save(network.build(NETWORK, CLASSES, seed=9), given, SIZE)
    write_json(given.parent / "index.json", {"pico": {"uri": "a.pt", "sha256": sha256(given), "file": given.name}})
    return given


def write_card(folder: Path, kind: str, task: HeadName = "detect", **fields: Any) -> None:
    """Describe the weights in a folder, which nobody trained."""
    described = network.describe(folder, SIZE, task)
    defaults = {"student": None, "data": "none", "teachers": [], "source": None}
    write_json(folder / CARD, {"task": task, "kind": kind, **described, **defaults, **fields})


def candidate(project: Path, name: str) -> Path:
    """An artifact of the project's pruned student, which is made where it is missing."""
    wanted = Candidate.parse(name)
    if not (project / layout.checkpoint(wanted.student, "pruned")).exists():
        checkpoint(project, layout.checkpoint(wanted.student, "pruned"), "pruned", wanted.student)
    target = project / wanted.folder
    target.mkdir(parents=True)
    export(project, tasks.load("detect"), wanted, target)
    return target


def project(root: Path, scenes: Path) -> Path:
    """A project with a copy of `scenes` and one student."""
    shutil.copytree(scenes, root / DATA)
    params = {
        "project": "tiny",
        "input_size": SIZE,
        "students": ["pico"],
        "runtimes": ["onnx", "openvino"],
        "int8": ["onnx", "openvino"],
        "teachers": ["main"],
        "teacher": {"main": {}},
        "networks": {"pico": {"scale": [0.34, 0.0625, 256]}},
        "benchmark": {"threads": 1, "warmup": 1, "runs": 3, "cold_starts": 1},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return root
