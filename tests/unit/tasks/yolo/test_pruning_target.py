from __future__ import annotations

import pytest

from alambique.config.detect import Network
from alambique.tasks.yolo import network, pruning_target
from alambique.tasks.yolo.widths import build, narrowings, widths

FULL = network.build(Network(scale=(0.50, 0.125, 1024)), ["a", "b"], seed=0)
NARROWEST = build(FULL, narrowings(widths(FULL))[-1])


def test_counts_are_those_of_the_card() -> None:
    macs, parameters = (pruning_target.against(FULL, target, 64)(NARROWEST) for target in ("macs", "parameters"))
    assert macs == (network.macs(FULL, 64), network.macs(NARROWEST, 64))
    assert parameters == (network.parameters(FULL), network.parameters(NARROWEST))
    assert macs.removed == pytest.approx(1 - macs.narrow / macs.full)


def test_a_narrower_network_takes_less_time_and_an_equal_one_as_much() -> None:
    compare = pruning_target.against(FULL, "latency", 160)
    assert compare(NARROWEST).removed > 0.2
    assert compare(FULL).removed == pytest.approx(0, abs=0.15)
