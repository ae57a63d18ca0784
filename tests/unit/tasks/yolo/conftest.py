from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import checkpoints, head_datasets

from alambique import tasks
from alambique.config import parse
from alambique.config.heads import Heads
from alambique.demo.digits import Scenes
from alambique.files import write_json
from alambique.layout import WEIGHTS, checkpoint
from alambique.process.environment import prepare
from alambique.tasks.yolo import network
from alambique.tasks.yolo.dataset import YoloDataset

prepare()

NETWORK = {"family": "yolo26", "scale": [0.34, 0.0625, 256]}
NOTHING = {"uri": None, "sha256": None, "file": None}


@pytest.fixture(scope="session", params=["segment", "pose", pytest.param("obb", marks=pytest.mark.slow)])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> YoloDataset:
    """Tiny scenes of each head."""
    root = tmp_path_factory.mktemp(request.param) / "data"
    head_datasets.write(request.param, root, Scenes(train=8, val=4, test=6, unlabelled=4, size=64, digits=2))
    return YoloDataset.load(root, request.param)


@pytest.fixture(scope="session")
def poses(tmp_path_factory: pytest.TempPathFactory) -> YoloDataset:
    """Tiny scenes with keypoints."""
    root = tmp_path_factory.mktemp("poses") / "data"
    head_datasets.write("pose", root, Scenes(train=8, val=4, test=6, unlabelled=4, size=64, digits=2))
    return YoloDataset.load(root, "pose")


@pytest.fixture(scope="session")
def params(data: YoloDataset) -> Heads:
    found = parse(
        {
            "project": "tiny",
            "task": data.head,
            "input_size": 64,
            "students": ["pico"],
            "runtimes": ["onnx", "openvino", "torchscript"],
            "networks": {"pico": NETWORK},
            "teachers": ["main"],
            "teacher": {"main": {"network": NETWORK, "steps": 6}},
            "training": {"batch": 4, "learning_rate": 0.005},
        },
        "params.yaml",
    )
    assert isinstance(found, Heads)
    return found


@pytest.fixture(scope="session")
def project(data: YoloDataset, params: Heads, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a pruned student that finds something everywhere."""
    root = tmp_path_factory.mktemp(f"project_{data.head}")
    (root / "data").symlink_to(data.root)
    folder = root / checkpoint("pico", "pruned")
    folder.mkdir(parents=True)
    network.save(sure(data, params), folder / WEIGHTS, 64)
    checkpoints.write_card(folder, "pruned", data.head, data=data.digest("train"), student="pico")
    write_json(root / "inputs/students/index.json", {"pico": NOTHING})
    return root


def sure(data: YoloDataset, params: Heads) -> Any:
    """A network, not trained, half of whose scores are above one half."""
    model = tasks.load(data.head).build(params.networks["pico"], data, params, seed=0, weights=None).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.copy_(1.5 + torch.rand(module.weight.shape, generator=generator))
            module.bias.data.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
    for branch in (*model.model[-1].cv3, *model.model[-1].one2one_cv3):
        last = branch[-1]
        last.weight.data = torch.randn(last.weight.shape, generator=generator)
        last.bias.data.zero_()
    return model
