from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from factories.trained_networks import SMALLEST, outputs, trained
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.tasks.yolo import network
from alambique.tasks.yolo.channel_importance import magnitude
from alambique.tasks.yolo.chunk_split import SplitBlock, join, split
from alambique.tasks.yolo.structured_pruning import remove_channels, shrink
from alambique.tasks.yolo.widths import Slot, build, schedule, widths


def wide_network(scale: str | tuple[float, float, int] = SMALLEST) -> DetectionModel:
    return trained(Network(scale=scale), ["a", "b", "c"])


@pytest.mark.parametrize("scale", [SMALLEST, "n", "m"])
def test_split_network_computes_exactly_the_same(scale: str | tuple[float, float, int]) -> None:
    model = wide_network(scale)
    rewritten = split(model)
    assert sum(isinstance(module, SplitBlock) for module in rewritten.modules()) == 9
    for before, after in zip(outputs(model), outputs(rewritten), strict=True):
        assert (before - after).abs().max().item() == 0.0


def test_joining_the_halves_gives_the_state_back() -> None:
    model = wide_network()
    joined = join(split(model).state_dict())
    assert joined.keys() == model.state_dict().keys()
    assert all(torch.equal(joined[name], tensor) for name, tensor in model.state_dict().items())


def test_stock_network_computes_what_the_pruned_one_did() -> None:
    wide = wide_network()
    narrow = build(wide, schedule(wide, "macs", [0.4], 64)[0]).eval()
    pruned = split(wide)
    shapes = {name: module.out_channels for name, module in split(narrow).named_modules() if hasattr(module, "groups")}
    remove_channels(pruned, shapes, magnitude())
    for expected, found in zip(outputs(pruned), outputs(shrink(wide, narrow)), strict=True):
        assert torch.equal(expected, found)


def test_channels_without_weight_go_first_and_change_nothing() -> None:
    wide = wide_network()
    dead = [1, 4, 9, 10, 17, 23, 30, 31]
    layer = wide.model[3]
    for tensor in (layer.conv.weight.data, layer.bn.weight.data, layer.bn.bias.data, layer.bn.running_mean):
        tensor[dead] = 0
    chosen = widths(wide)
    slot = Slot(3, "out")
    narrow = shrink(wide, build(wide, {**chosen, slot: chosen[slot] - len(dead)})).eval()
    alive = [channel for channel in range(32) if channel not in dead]
    assert torch.equal(narrow.model[3].conv.weight, layer.conv.weight[alive])
    for before, after in zip(outputs(wide), outputs(narrow), strict=True):
        assert torch.allclose(before, after, atol=1e-4)


def test_shrinking_leaves_the_wide_network_as_it_was() -> None:
    wide = wide_network()
    before = deepcopy(wide.state_dict())
    shrink(wide, build(wide, schedule(wide, "macs", [0.3], 64)[0]))
    assert all(torch.equal(before[name], tensor) for name, tensor in wide.state_dict().items())


def test_pruned_checkpoint_is_stock_and_rebuilds_itself_from_its_own_yaml(tmp_path: Path) -> None:
    wide = wide_network()
    narrow = shrink(wide, build(wide, schedule(wide, "macs", [0.3], 64)[0]))
    network.save(narrow, tmp_path / "weights.pt", 64)
    assert b"alambique" not in (tmp_path / "weights.pt").read_bytes()
    network.verify_loadable(tmp_path / "weights.pt")
    loaded = YOLO(tmp_path / "weights.pt").model
    rebuilt = DetectionModel(loaded.yaml, verbose=False)
    rebuilt.load_state_dict(loaded.state_dict())
    assert network.parameters(rebuilt) == network.parameters(narrow) < network.parameters(wide)
