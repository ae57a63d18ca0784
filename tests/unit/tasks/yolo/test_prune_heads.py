from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from alambique.config.heads import Network
from alambique.tasks.yolo import network, widths
from alambique.tasks.yolo.dataset import HeadName
from alambique.tasks.yolo.structured_pruning import shrink

HEADS: tuple[HeadName, ...] = ("segment", "pose", "obb")
SMALLEST = Network(scale=(0.50, 0.125, 1024))


def trained(head: HeadName) -> Any:
    details = {"data_kpt_shape": [3, 3]} if head == "pose" else {}
    model = network.build(SMALLEST, ["cat", "dog"], 0, head, **details).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data = 0.2 * torch.randn(module.bias.shape, generator=generator)
    return model


def maps(model: Any) -> list[Tensor]:
    """All outputs of the head, in training too."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        answer = model(image)[1]
    return [
        value
        for branch in answer.values()
        for part, value in branch.items()
        if part != "feats" and isinstance(value, Tensor)
    ]


@pytest.mark.parametrize("head", HEADS)
def test_a_network_as_wide_as_before_answers_as_before(head: HeadName) -> None:
    model = trained(head)
    same = shrink(model, widths.build(model, widths.widths(model))).eval()
    for before, after in zip(maps(model), maps(same), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("head", HEADS)
def test_a_slot_of_a_head_can_be_narrowed_alone(head: HeadName) -> None:
    model = trained(head)
    slots = widths.widths(model)
    last = model.model[-1].i
    slot = widths.Slot(last, "hidden") if head == "segment" else widths.Slot(16, "hidden")
    assert slot in slots
    narrow = widths.build(model, {**slots, slot: slots[slot] - 8})
    found = shrink(model, narrow)
    assert network.parameters(found) < network.parameters(model)
    assert widths.widths(found)[slot] == slots[slot] - 8
    assert widths.widths(found).keys() == slots.keys()


@pytest.mark.parametrize("head", HEADS)
def test_a_pruned_network_trains(head: HeadName) -> None:
    model = trained(head)
    narrow = shrink(model, widths.build(model, widths.schedule(model, "macs", [0.3], 64)[0])).train()
    answer = narrow(torch.rand(2, 3, 64, 64))  # also what only training needs has lost the same channels
    assert set(answer) == {"one2many", "one2one"}
    assert network.macs(narrow, 64) == pytest.approx(0.7 * network.macs(model, 64), rel=0.05)
