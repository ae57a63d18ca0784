from __future__ import annotations

import pytest
import torch
from factories.tiny_detection import CLASSES, FAMILIES, NETWORK
from torch import Tensor
from ultralytics.nn.modules import DFL
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import xywh2xyxy, xyxy2xywh

from alambique.tasks.yolo import network
from alambique.tasks.yolo.export_head import IOU, MAX_BOXES, MIN_SCORE, Expectation, end_to_end, suppress


def crowded(places: int = 2000, classes: int = 4) -> Tensor:
    """Boxes of which many overlap, some of several classes, some of none."""
    generator = torch.Generator().manual_seed(0)
    corner, extent = (torch.rand(places, 2, generator=generator) * size for size in (200, 60))
    scores = torch.rand(places, classes, generator=generator) ** 8
    return torch.cat((corner, corner + extent, scores), 1)


def test_what_is_kept_is_what_upstream_keeps_where_it_measures_accuracy() -> None:
    places = crowded()
    upstream = torch.cat((xyxy2xywh(places[:, :4]), places[:, 4:]), 1).T[None]
    (expected,) = non_max_suppression(upstream, MIN_SCORE, IOU, multi_label=True, max_det=MAX_BOXES)
    assert len(expected) == MAX_BOXES
    torch.testing.assert_close(suppress(places), expected, atol=1e-3, rtol=0)


def test_where_little_is_found_the_rest_is_zero() -> None:
    places = crowded(10)
    places[:, 4:] = 0
    assert not suppress(places).any()
    places[3, 5] = 0.5
    found = suppress(places)
    assert found.shape == (MAX_BOXES, 6)
    assert found[0].tolist() == pytest.approx([*places[3, :4].tolist(), 0.5, 1])
    assert not found[1:].any()


def test_one_object_may_be_of_two_classes_but_is_found_once_in_each() -> None:
    box = torch.tensor([[10.0, 10, 50, 50]])
    places = torch.cat((torch.cat((box, box + 1)), torch.tensor([[0.9, 0.6], [0.8, 0.7]])), 1)
    assert suppress(places)[:3, 4:].tolist() == [
        pytest.approx([0.9, 0]),
        pytest.approx([0.7, 1]),
        [0, 0],
    ]


def test_the_mean_distance_is_upstreams() -> None:
    logits = torch.randn(2, 64, 84, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(Expectation(16)(logits), DFL(16)(logits))


def test_a_network_with_a_one_to_one_branch_answers_with_it() -> None:
    model = end_to_end(network.build(NETWORK, CLASSES, 0).eval())
    assert model.end2end
    assert model(torch.zeros(1, 3, 64, 64))[0].shape == (1, 84, 6)


@pytest.mark.parametrize("family", ["yolo11", "yolov8"])
def test_a_network_with_one_branch_suppresses(family: str) -> None:
    model = network.build(FAMILIES[family], CLASSES, 0).eval()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 64, 64, generator=generator)
    with torch.no_grad():
        for layers in (*model.model[-1].cv2, *model.model[-1].cv3):  # untrained, all boxes would be alike
            layers[-1].bias.copy_(torch.randn(layers[-1].bias.shape, generator=generator))
        raw, _ = model(image)
        found, _ = end_to_end(model)(image)
    places = raw[0].T
    expected = suppress(torch.cat((xywh2xyxy(places[:, :4]), places[:, 4:]), 1))
    assert 0 < (expected[:, 4] > 0).sum() < (places[:, 4:] > MIN_SCORE).sum()
    torch.testing.assert_close(found[0], expected, atol=1e-3, rtol=0)
