from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from factories.image_views import PICO

from alambique.config.classify import Network
from alambique.errors import DataError
from alambique.tasks.images import network, weights
from alambique.tasks.images.network import ClassifierNetwork

CLASSES = ["cat", "dog", "wolf"]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def built(classes: list[str] = CLASSES, **architecture: Any) -> ClassifierNetwork:
    """A network whose norms do something."""
    made = network.build(Network(**architecture), classes, 0)
    generator = torch.Generator().manual_seed(1)
    for module in made.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data += torch.rand(module.weight.shape, generator=generator) * 0.2
            module.bias.data += torch.rand(module.bias.shape, generator=generator) * 0.2
    return made


def started(architecture: dict[str, Any], given: ClassifierNetwork, folder: Path) -> ClassifierNetwork:
    network.save(given, folder / "weights.pt")
    student = network.build(Network(**architecture), CLASSES, 3)
    weights.load_matching(student, folder / "weights.pt")
    return student


@pytest.mark.parametrize(
    "architecture",
    [
        PICO.model_dump(),
        {"family": "torchvision", "name": "mobilenet_v3_small"},
        {"family": "timm", "name": "resnet10t"},
    ],
    ids=["yolo26-cls", "torchvision", "timm"],
)
def test_weights_of_the_same_architecture_give_the_same_logits(architecture: dict[str, Any], tmp_path: Path) -> None:
    given = built(**architecture)
    assert torch.equal(started(architecture, given, tmp_path).model(IMAGES), given.model(IMAGES))


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        ({"scale": "s"}, {"scale": "n"}),
        ({"scale": "n"}, {"scale": (0.5, 0.125, 512)}),
        ({"scale": "n"}, {"scale": (0.5, 0.0625, 1024)}),
        ({"scale": (1.0, 0.25, 512)}, {"scale": (0.5, 0.125, 512)}),
        ({"family": "torchvision", "name": "resnet34"}, {"family": "torchvision", "name": "resnet18"}),
        ({"family": "timm", "name": "mobilenetv2_100"}, {"family": "timm", "name": "mobilenetv2_050"}),
    ],
)
def test_a_larger_network_of_the_family_is_narrowed_and_it_repeats(
    larger: dict[str, Any], smaller: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    given = built(**larger)
    first, second = (started(smaller, given, tmp_path).model(IMAGES) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    fresh = network.build(Network(**smaller), CLASSES, 3).model(IMAGES)
    assert not torch.allclose(first, fresh)


def test_blocks_that_add_nothing_go_first(tmp_path: Path) -> None:
    given = built(family="torchvision", name="resnet34")
    for block in ("layer1.1", "layer2.1", "layer2.2", "layer3.1", "layer3.2", "layer3.4", "layer3.5", "layer4.1"):
        norm = given.model.get_submodule(f"body.{block}.bn2")
        for parameter in norm.parameters():
            parameter.data.zero_()
    student = started({"family": "torchvision", "name": "resnet18"}, given, tmp_path)
    torch.testing.assert_close(student.model(IMAGES), given.model(IMAGES))


def test_a_head_for_other_classes_keeps_its_initialisation(tmp_path: Path) -> None:
    student = started({"scale": "n"}, built(["cat", "dog"], scale="s"), tmp_path)
    head = "body.model.10.linear.weight"
    assert torch.equal(
        student.model.state_dict()[head], network.build(Network(scale="n"), CLASSES, 3).model.state_dict()[head]
    )


@pytest.mark.parametrize(
    ("larger", "smaller", "message"),
    [
        ({"scale": "n"}, {"scale": "s"}, r"cannot be narrowed to yolo26-cls s: .* is wider than in the weights"),
        ({"scale": "m"}, {"scale": "n"}, r"is of another kind .*; scales n, s and custom ones are built of the same"),
        (
            {"family": "timm", "name": "deit_small_patch16_224"},
            {"family": "timm", "name": "deit_tiny_patch16_224"},
            "whose width cannot be narrowed",
        ),
    ],
)
def test_what_cannot_be_narrowed_is_refused(
    larger: dict[str, Any], smaller: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        started(smaller, built(**larger), tmp_path)
