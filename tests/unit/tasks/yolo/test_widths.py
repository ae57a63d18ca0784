from __future__ import annotations

import itertools

import pytest
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.errors import ConfigurationError
from alambique.tasks.yolo import network
from alambique.tasks.yolo.widths import Slot, build, narrowings, schedule, widths

SMALLEST = (0.50, 0.125, 1024)


def fresh(scale: str | tuple[float, float, int], classes: int = 3) -> DetectionModel:
    return network.build(Network(scale=scale), [f"class{index}" for index in range(classes)], seed=0)


def shapes(model: DetectionModel) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in model.state_dict().values()]


@pytest.mark.parametrize("scale", [SMALLEST, "m"])  # one more kind of block from m on
def test_a_network_with_its_own_widths_is_the_same_network(scale: str | tuple[float, float, int]) -> None:
    model = fresh(scale)
    assert shapes(build(model, widths(model))) == shapes(model)


@pytest.mark.parametrize("scale", [SMALLEST, "m"])
def test_chosen_widths_are_built_as_chosen_and_can_be_narrowed_again(scale: str | tuple[float, float, int]) -> None:
    model = fresh(scale)
    plans = narrowings(widths(model))
    for plan in (plans[len(plans) // 3], plans[-1]):
        assert widths(build(model, plan)) == plan
    once = build(model, plans[len(plans) // 3])
    assert widths(build(once, plans[len(plans) // 2])) == plans[len(plans) // 2]


def test_each_narrowing_takes_one_step_of_one_width_and_keeps_proportions() -> None:
    plans = narrowings(widths(fresh("n")))
    for wider, narrower in itertools.pairwise(plans):
        assert [narrower[slot] < wider[slot] for slot in wider].count(True) == 1
        assert all(narrower[slot] <= wider[slot] for slot in wider)
    middle = plans[len(plans) // 2]
    wide_ones = [slot for slot in middle if plans[0][slot] >= 128]
    kept = [middle[slot] / plans[0][slot] for slot in wide_ones]
    assert max(kept) - min(kept) <= 0.125


def test_what_attention_works_on_is_never_narrowed() -> None:
    model = fresh(SMALLEST)
    narrowest = build(model, narrowings(widths(model))[-1])
    assert Slot(22, "hidden") not in widths(model)
    for index in (10, 22):
        assert narrowest.model[index].c == model.model[index].c


def test_the_wanted_shares_are_removed_within_the_tolerance() -> None:
    """Of parameters; `test_families` has it of MACs."""
    model, shares = fresh(SMALLEST), [0.1, 0.5]
    for share, plan in zip(shares, schedule(model, "parameters", shares, 64), strict=True):
        removed = 1 - network.parameters(build(model, plan)) / network.parameters(model)
        assert removed == pytest.approx(share, abs=0.03)


def test_a_share_out_of_reach_is_refused_with_the_nearest_one() -> None:
    refusal = r"prune\.ratio: 0\.99 .* parameters .* nearest share is 0\.[78]\d"
    with pytest.raises(ConfigurationError, match=refusal):
        schedule(fresh(SMALLEST), "parameters", [0.99], 64)
