from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import pytest
import torch
from factories.tiny_detection import CLASSES
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Importance, Network
from alambique.tasks.yolo import network
from alambique.tasks.yolo.channel_importance import accumulate_gradients, bn_scale, labelled_batches, scorer
from alambique.tasks.yolo.chunk_split import split
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.structured_pruning import shrink
from alambique.tasks.yolo.widths import Slot, build, narrowings, widths

FAMILIES = ("yolo26", "yolov8")
"""YOLO11 has the blocks of the one and the head of the other."""
LAYER = 3
"""A convolution of 32 channels which nothing else shares its channels with."""
WEAK = [1, 4, 9, 10, 17, 23, 30, 31]


def fresh(family: str = "yolo26") -> DetectionModel:
    network_ = Network.model_validate({"family": family, "scale": (0.50, 0.125, 1024)})
    return network.build(network_, CLASSES, seed=0).eval()


def kept(model: DetectionModel, narrow: DetectionModel) -> list[int]:
    """The output channels of `LAYER` that are still there, by their kernels."""
    before, after = (cast("Tensor", each.model[LAYER].conv.weight) for each in (model, narrow))
    return [index for index, kernel in enumerate(before) if any(torch.equal(kernel, other) for other in after)]


def without_eight(model: DetectionModel) -> DetectionModel:
    full, slot = widths(model), Slot(LAYER, "out")
    return build(model, {**full, slot: full[slot] - len(WEAK)})


@pytest.mark.parametrize("how", get_args(Importance))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_group_of_every_family_has_scores(family: str, how: Importance, scenes: Path) -> None:
    model = fresh(family)
    narrowest = build(model, narrowings(widths(model))[-1])
    shrink(model, narrowest, scorer(how, YoloDataset.load(scenes), 64, seed=0))
    assert all(tensor.isfinite().all() for tensor in narrowest.state_dict().values())


def test_bn_scale_removes_the_channels_of_small_scale_whatever_their_weights() -> None:
    model = fresh()
    model.model[LAYER].bn.weight.data[WEAK] = 0.01
    model.model[LAYER].conv.weight.data[WEAK] *= 10
    assert set(kept(model, shrink(model, without_eight(model), bn_scale()))).isdisjoint(WEAK)
    assert set(WEAK) <= set(kept(model, shrink(model, without_eight(model))))


def test_taylor_removes_the_channels_that_the_loss_does_not_depend_on(scenes: Path) -> None:
    model = fresh()
    # What takes their place: large weights whose outcome batch norm multiplies by nothing.
    model.model[LAYER].bn.weight.data[WEAK] = 0
    model.model[LAYER].conv.weight.data[WEAK] *= 10
    reader = model.model[LAYER + 1]
    reader.cv1.conv.weight.data[:, WEAK] = 1e-6
    pruned = shrink(model, without_eight(model), scorer("taylor", YoloDataset.load(scenes), 64, seed=0))
    assert set(kept(model, pruned)).isdisjoint(WEAK)
    assert set(WEAK) <= set(kept(model, shrink(model, without_eight(model))))


def test_gradients_are_a_sum_over_the_batches_and_leave_batch_norm_alone(scenes: Path) -> None:
    batches = list(labelled_batches(YoloDataset.load(scenes), 64, seed=0))
    assert [len(batch["img"]) for batch in batches] == [16, 8]
    model = split(fresh())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = []
    for given in (batches[:1], batches[1:], batches):
        accumulate_gradients(model, given)
        gradients.append(model.model[0].conv.weight.grad.clone())
    assert torch.allclose(gradients[0] + gradients[1], gradients[2], rtol=1e-3, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_equal_seeds_draw_equal_images(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alambique.tasks.yolo.channel_importance.IMAGES", 5)
    files = [next(labelled_batches(YoloDataset.load(scenes), 64, seed))["im_file"] for seed in (0, 0, 1)]
    assert files[0] == files[1] != files[2]
    assert len(files[0]) == 5
