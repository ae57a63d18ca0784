from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from factories.tiny_detection import CLASSES
from factories.trained_networks import outputs, trained
from torch import nn
from ultralytics.nn.modules.block import Attention
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.errors import DataError
from alambique.tasks.yolo import network
from alambique.tasks.yolo.attention_split import SplitAttention, join_attention, split_attention
from alambique.tasks.yolo.narrowing import narrow_into, network_of
from alambique.tasks.yolo.task import TASKS

Scale = str | tuple[float, float, int]
WIDE: Scale = (0.5, 0.25, 512)
NARROW: Scale = (0.5, 0.125, 512)


def build(scale: Scale, classes: list[str] = CLASSES, seed: int = 1, family: str = "yolo26") -> DetectionModel:
    return network.build(Network(family=family, scale=scale), classes, seed)  # type: ignore[arg-type]


def equal(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


@pytest.fixture(scope="module")
def wide() -> DetectionModel:
    return trained(Network(scale=WIDE), CLASSES)


def test_attention_with_three_projections_computes_the_same_and_is_joined_without_a_loss(wide: DetectionModel) -> None:
    split = trained(Network(scale=WIDE), CLASSES)
    before = outputs(split)
    split_attention(split)
    assert sum(isinstance(module, SplitAttention) for module in split.modules()) == 2
    for expected, found in zip(before, outputs(split), strict=True):
        assert torch.allclose(expected, found, atol=1e-4)
    joined = join_attention(wide, split.state_dict())
    assert joined.keys() == wide.state_dict().keys()
    assert all(torch.equal(joined[name], tensor) for name, tensor in wide.state_dict().items())


def test_the_head_that_does_something_stays() -> None:
    torch.manual_seed(0)
    attention, narrow = Attention(128, num_heads=2).eval(), Attention(64, num_heads=1)
    rows = torch.arange(256).view(2, 128)
    attention.qkv.bn.weight.data[rows[0, 64:]] = 0  # the values of the first head
    split = SplitAttention(attention)
    x = torch.randn(1, 128, 4, 4)
    with torch.no_grad():
        expected = split(x)
        split.keep_heads(narrow)
        assert (split.heads, split.key_dim, split.head_dim) == (1, 32, 64)
        assert torch.allclose(split(x), expected, atol=1e-5)


def test_keys_that_are_zero_go_first_and_the_products_keep_their_scale() -> None:
    torch.manual_seed(0)
    attention, narrow = Attention(64, num_heads=1).eval(), Attention(32, num_heads=1)
    attention.qkv.bn.weight.data[16:32] = 0  # half of the queries
    attention.qkv.bn.weight.data[64 + 32 :] = 0  # half of the values
    split = SplitAttention(attention)
    x = torch.randn(1, 64, 4, 4)
    with torch.no_grad():
        expected = split(x)
        split.keep_heads(narrow)
        assert torch.allclose(split(x), expected, atol=1e-5)


def test_weights_of_the_same_shape_are_taken_exactly(wide: DetectionModel) -> None:
    same = build(WIDE)
    narrow_into(same, wide, seed=0)
    assert equal(wide, same)


def test_a_narrower_network_is_stock_and_made_of_the_wide_ones_channels(wide: DetectionModel) -> None:
    narrow, again = build(NARROW, seed=1), build(NARROW, seed=2)
    state = torch.get_rng_state()
    narrow_into(narrow, wide, seed=0)
    narrow_into(again, wide, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(narrow, again)  # nothing of its own initialisation is left
    stem = wide.model[0].conv.weight
    assert all(any(torch.equal(row, given) for given in stem) for row in narrow.model[0].conv.weight)
    assert all(torch.isfinite(output).all() for output in outputs(narrow.eval()))


def test_a_head_for_other_classes_is_initialised_by_the_seed(wide: DetectionModel) -> None:
    one, two, other = (build(NARROW, ["a", "b"]) for _ in range(3))
    narrow_into(one, wide, seed=3)
    narrow_into(two, wide, seed=3)
    narrow_into(other, wide, seed=4)
    assert equal(one, two)
    assert equal(one.model[:-1], other.model[:-1])
    assert not equal(one.model[-1], other.model[-1])


def test_the_first_of_repeated_blocks_stay() -> None:
    deep, shallow = build((1.0, 0.125, 256)), build((0.5, 0.125, 256))
    narrow_into(shallow, deep, seed=0)
    assert (len(deep.model[2].m), len(shallow.model[2].m)) == (2, 1)
    assert equal(shallow.model[2].m[0], deep.model[2].m[0])
    kept = 3 * deep.model[2].c  # both halves and what the first block puts out
    assert torch.equal(shallow.model[2].cv2.conv.weight, deep.model[2].cv2.conv.weight[:, :kept])


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_every_head_is_narrowed(task: network.HeadName) -> None:
    shape = {"data_kpt_shape": [5, 3]} if task == "pose" else {}
    wide, narrow = (network.build(Network(scale=scale), CLASSES, 0, task, **shape) for scale in (WIDE, NARROW))
    narrow_into(narrow, wide, seed=0)
    rows = wide.model[0].conv.weight
    assert all(any(torch.equal(row, given) for given in rows) for row in narrow.model[0].conv.weight)


@pytest.mark.parametrize(
    ("family", "given", "asked", "problem"),
    [
        ("yolo26", NARROW, WIDE, r"layer model\.0\.conv has 8 channels, fewer than the 16"),
        ("yolo26", "n", (0.5, 0.1875, 1024), r"layer model\.10.*1 heads of 96 channels cannot be made of 2 of 64"),
        ("yolov8", WIDE, NARROW, "layer 2 is made of C2f of Bottleneck, and of C3k2 of Bottleneck"),
        ("yolo26", "m", "n", "layer 2 is made of C3k2 of C3k, and of C3k2 of Bottleneck.*m, l and x"),
    ],
)
def test_what_cannot_be_narrowed_is_refused_by_its_first_layer(
    family: str, given: Scale, asked: Scale, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        narrow_into(build(asked), build(given, family=family), seed=0)


def test_a_checkpoint_that_is_larger_is_narrowed(wide: DetectionModel, tmp_path: Path) -> None:
    network.save(wide, tmp_path / "given.pt", image_size=64)
    expected = build(NARROW)
    narrow_into(expected, network.load(tmp_path / "given.pt"), seed=0)
    assert equal(network.start_from(build(NARROW, seed=5), tmp_path / "given.pt", seed=0), expected)


def test_a_teacher_without_a_network_has_that_of_its_weights(tmp_path: Path) -> None:
    network.save(build("n", family="yolo11"), tmp_path / "n.pt", image_size=64)
    assert network_of(tmp_path / "n.pt", "detect") == Network(family="yolo11", scale="n")
    data = SimpleNamespace(classes=["a"])
    built = TASKS["detect"].build(None, data, None, seed=0, weights=tmp_path / "n.pt")
    assert network.parameters(built) == network.parameters(build("n", ["a"], family="yolo11"))


def test_weights_that_say_no_scale_need_a_network(wide: DetectionModel, tmp_path: Path) -> None:
    network.save(wide, tmp_path / "wide.pt", image_size=64)
    with pytest.raises(DataError, match="does not say which family and scale"):
        network_of(tmp_path / "wide.pt", "detect")
