from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories.image_views import PICO
from ultralytics import YOLO

from alambique.config.classify import Network
from alambique.errors import ConfigurationError, DataError
from alambique.tasks.images import network, weights
from alambique.tasks.images.network import ClassifierNetwork
from alambique.tasks.yolo import upstream

CLASSES = ["cat", "dog", "wolf"]
NETWORKS = (
    PICO,
    Network(family="torchvision", name="mobilenet_v3_small"),
    Network(family="timm", name="resnet10t"),
)


def images(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("architecture", NETWORKS, ids=lambda architecture: architecture.name or "yolo26-cls")
def test_any_family_gives_logits_and_comes_back_as_it_was(architecture: Network, tmp_path: Path) -> None:
    built = network.build(architecture, CLASSES, 1)
    answer = built.model(images())
    assert answer.shape == (2, 3)
    assert built.model.train()(images()).shape == (2, 3)
    assert not torch.allclose(answer.sum(1), torch.ones(2))  # no probabilities
    built.model.eval()
    built = network.build(architecture, CLASSES, 1)
    network.save(built, tmp_path / "weights.pt")
    loaded = network.load(tmp_path / "weights.pt")
    assert torch.equal(loaded.model(images()), built.model(images()))
    assert (loaded.classes, loaded.architecture) == (CLASSES, architecture)


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        network.save(network.build(PICO, CLASSES, seed), tmp_path / name / "weights.pt")
    first, second, third = ((tmp_path / name / "weights.pt").read_bytes() for name in "abc")
    assert first == second != third
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_that_the_library_does_not_know_is_refused() -> None:
    for family in ("torchvision", "timm"):
        with pytest.raises(ConfigurationError, match=f"{family} has no .*'resnet9000'"):
            network.build(Network(family=family, name="resnet9000"), CLASSES, 0)


def test_a_start_for_other_classes_keeps_its_own_head(tmp_path: Path) -> None:
    given = network.build(PICO, ["a", "b"], 7)
    network.save(given, tmp_path / "weights.pt")
    built = network.build(PICO, CLASSES, 0)
    head = built.model.state_dict()["body.model.10.linear.weight"].clone()
    weights.load_matching(built, tmp_path / "weights.pt")
    state, source = built.model.state_dict(), given.model.state_dict()
    assert torch.equal(state["body.model.0.conv.weight"], source["body.model.0.conv.weight"])
    assert torch.equal(state["body.model.10.linear.weight"], head)


def test_a_start_may_be_a_librarys_own_state_dict(tmp_path: Path) -> None:
    architecture = NETWORKS[2]
    given = network.build(architecture, CLASSES, 7)
    torch.save(given.model.body.state_dict(), tmp_path / "asset.pt")
    built = network.build(architecture, CLASSES, 0)
    weights.load_matching(built, tmp_path / "asset.pt")
    assert torch.equal(built.model(images()), given.model(images()))
    assert torch.equal(
        weights.load_all(architecture, CLASSES, tmp_path / "asset.pt").model(images()), given.model(images())
    )


@pytest.mark.parametrize("loaded", [False, True], ids=["fresh", "after Ultralytics loaded it"])
def test_a_start_may_be_an_ultralytics_checkpoint(tmp_path: Path, loaded: bool) -> None:
    given = YOLO("yolo26n-cls.yaml")
    given.save(tmp_path / "yolo26n-cls.pt")
    if loaded:
        upstream.load_checkpoint(tmp_path / "yolo26n-cls.pt")
    built = network.build(Network(scale="n"), CLASSES, 3)
    weights.load_matching(built, tmp_path / "yolo26n-cls.pt")
    first = given.model.state_dict()["model.0.conv.weight"].half().float()
    assert torch.equal(built.model.state_dict()["body.model.0.conv.weight"], first)


def test_another_architectures_weights_are_refused(tmp_path: Path) -> None:
    network.save(network.build(NETWORKS[2], CLASSES, 0), tmp_path / "weights.pt")
    built = network.build(PICO, CLASSES, 0)
    with pytest.raises(DataError, match=r"fits 0 of the .* it is of another architecture"):
        weights.load_matching(built, tmp_path / "weights.pt")
    with pytest.raises(DataError, match=r"tells .* apart, but the dataset's classes are"):
        weights.load_all(PICO, ["cat"], tmp_path / "weights.pt")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, pico: ClassifierNetwork) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match=r"cannot use .*evil\.pt"):
        weights.load_matching(pico, tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_file_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="no checkpoint of a classifier"):
        network.load(tmp_path / "weights.pt")
