"""What every family of detectors has to do alike: YOLO26, whose head finds each object once, YOLO11 and YOLOv8."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from factories.restricted_load import restricted_load
from factories.tiny_detection import CLASSES, FAMILIES
from factories.trained_networks import SMALLEST, outputs, trained
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.tasks.yolo import network
from alambique.tasks.yolo.chunk_split import SplitBlock, split
from alambique.tasks.yolo.structured_pruning import shrink
from alambique.tasks.yolo.widths import build, narrowings, schedule, widths

WITH_LAYERS_OF_ITS_OWN = ["yolo26", "yolov8"]
"""YOLO11 has the blocks of the first and the head of the second."""

BLOCKS = {"yolo26": 9, "yolo11": 9, "yolov8": 8}
"""How many blocks of each family split a convolution's output."""

SCALES = [
    (family, pytest.param(scale, marks=[pytest.mark.slow] if scale != "n" else []))
    for family in FAMILIES
    for scale in ("n", "s", "m", "l", "x")
]
EVERY_SCALE = [pytest.param(family, *scale.values, marks=scale.marks) for family, scale in SCALES]


def tiny(family: str) -> DetectionModel:
    return network.build(FAMILIES[family], CLASSES, 0)


@cache
def wide_network(family: str) -> DetectionModel:
    """Read-only."""
    return trained(Network.model_validate({"family": family, "scale": SMALLEST}), CLASSES)


class Pruning(NamedTuple):
    wide: DetectionModel
    narrow: DetectionModel


@cache
def pruning(family: str) -> Pruning:
    """A network before and after 0.3 of its MACs are removed. Read-only."""
    wide = wide_network(family)
    return Pruning(wide, shrink(wide, build(wide, schedule(wide, "macs", [0.3], 64)[0])))


def shapes(model: DetectionModel) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in model.state_dict().values()]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_is_built_saved_and_loaded(family: str, tmp_path: Path) -> None:
    model = tiny(family).eval()
    network.save(model, tmp_path / "weights.pt", 64)
    assert network.class_names(restricted_load(tmp_path / "weights.pt")) == CLASSES
    loaded = network.load(tmp_path / "weights.pt").eval()
    assert network.has_one_to_one(loaded) is (family == "yolo26")
    for before, after in zip(outputs(model), outputs(loaded), strict=True):
        torch.testing.assert_close(before, after, atol=0.05, rtol=0.01)  # weights are kept in half precision


@pytest.mark.parametrize("family", FAMILIES)
def test_the_card_counts_the_network_that_is_deployed(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    network.save(model, tmp_path / "weights.pt", 64)
    card = network.describe(tmp_path, 64, "detect")
    assert card["parameters"] == network.parameters(model)
    assert 0 < card["macs"] < network.macs(model, 128) / 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_network_computes_exactly_the_same(family: str) -> None:
    model = wide_network(family)
    rewritten = split(model)
    assert sum(isinstance(module, SplitBlock) for module in rewritten.modules()) == BLOCKS[family]
    assert all(torch.equal(*pair) for pair in zip(outputs(model), outputs(rewritten), strict=True))


@pytest.mark.parametrize(("family", "scale"), EVERY_SCALE)
def test_a_pruned_network_of_every_scale_has_the_chosen_widths(family: str, scale: str) -> None:
    model = network.build(Network.model_validate({"family": family, "scale": scale}), CLASSES, 0)
    assert shapes(build(model, widths(model))) == shapes(model)
    plans = narrowings(widths(model))
    narrow = build(model, plans[len(plans) // 3])
    assert widths(narrow) == plans[len(plans) // 3]
    expected = shapes(narrow)
    assert shapes(shrink(model, narrow)) == expected


@pytest.mark.parametrize("family", WITH_LAYERS_OF_ITS_OWN)
def test_the_wanted_share_of_macs_is_removed(family: str) -> None:
    wide, narrow = pruning(family)
    assert 1 - network.macs(narrow, 64) / network.macs(wide, 64) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("family", WITH_LAYERS_OF_ITS_OWN)
def test_a_pruned_checkpoint_is_trained_further_without_this_package(
    family: str, tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultralytics.utils.callbacks.add_integration_callbacks", lambda _: None)
    wide, narrow = pruning(family)
    network.save(narrow, tmp_path / "weights.pt", 64)
    assert b"alambique" not in (tmp_path / "weights.pt").read_bytes()
    shutil.copytree(scenes, tmp_path / "data")  # upstream writes beside the labels
    further = YOLO(tmp_path / "weights.pt")
    settings = {"epochs": 1, "batch": 8, "fraction": 1 / 3, "plots": False, "verbose": False}
    further.train(data=str(tmp_path / "data/data.yaml"), save_dir=str(tmp_path / "run"), **settings)
    assert network.parameters(further.model) == network.parameters(narrow) < network.parameters(wide)
