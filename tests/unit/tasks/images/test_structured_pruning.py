from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from alambique.config.classify import Importance, Network
from alambique.errors import ConfigurationError
from alambique.tasks.images import network, structured_pruning
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import ClassifierNetwork, split_blocks

NETWORKS = (
    Network(scale=(0.5, 0.25, 256)),
    Network(family="torchvision", name="mobilenet_v3_small"),
    Network(family="timm", name="resnet10t"),
)
IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def pruned(wide: ClassifierNetwork, ratio: float, importance: Importance, digits: Dataset) -> ClassifierNetwork:
    """`wide` without a ratio of its multiply-accumulates, at 32 px."""
    prepared = structured_pruning.prepared(wide, importance, digits, 32, 0)
    channels = structured_pruning.channel_ratio(prepared, ratio, importance, 32)
    return structured_pruning.without_channels(prepared, channels, importance, 32)


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda architecture: architecture.name or "yolo26-cls")
def test_the_ratio_is_removed_and_the_file_holds_the_narrow_network(
    architecture: Network, digits: Dataset, tmp_path: Path
) -> None:
    wide = network.build(architecture, ["a", "b"], 0)
    before = network.macs(wide.model, 32)
    narrow = pruned(wide, 0.4, "magnitude", digits)
    assert 1 - network.macs(narrow.model, 32) / before == pytest.approx(0.4, abs=structured_pruning.TOLERANCE)
    assert network.macs(wide.model, 32) == before
    network.save(narrow, tmp_path / "narrow.pt")
    network.save(wide, tmp_path / "wide.pt")
    loaded = network.load(tmp_path / "narrow.pt").model
    assert torch.equal(loaded(IMAGE), narrow.model(IMAGE))
    assert (tmp_path / "narrow.pt").stat().st_size < (tmp_path / "wide.pt").stat().st_size


def test_widths_are_multiples_of_eight(digits: Dataset) -> None:
    narrow = pruned(network.build(NETWORKS[2], ["a", "b"], 0), 0.3, "magnitude", digits)
    widths = [module.out_channels for module in narrow.model.modules() if isinstance(module, nn.Conv2d)]
    assert all(width % structured_pruning.STEP == 0 for width in widths)


def test_splitting_blocks_changes_no_output() -> None:
    wide = network.build(NETWORKS[0], ["a", "b"], 0)
    assert torch.equal(split_blocks(wide.model)(IMAGE), wide.model(IMAGE))


@pytest.mark.parametrize("importance", get_args(Importance))
def test_channels_that_do_nothing_go_first(importance: Importance, digits: Dataset) -> None:
    wide = network.build(NETWORKS[2], digits.classes, 0)
    layer = wide.model.get_submodule("body.layer1.0")
    with torch.no_grad():
        for name in ("conv1.weight", "bn1.weight", "bn1.bias"):
            layer.get_parameter(name)[:48] = 0
    narrow = pruned(wide, 0.3, importance, digits)
    scales = narrow.model.get_submodule("body.layer1.0").get_parameter("bn1.weight")
    assert int((scales != 0).sum()) >= 15  # of 16; a rectifier that never lets through has no gradient either


def test_a_ratio_that_no_widths_give_is_refused_and_the_nearest_named(digits: Dataset) -> None:
    tiny = network.build(Network(scale=(0.34, 0.125, 64)), ["a", "b"], 0)
    with pytest.raises(ConfigurationError, match=r"prune.ratio: 0.97 .* the nearest ratio is 0\.\d\d: set that"):
        pruned(tiny, 0.97, "magnitude", digits)
