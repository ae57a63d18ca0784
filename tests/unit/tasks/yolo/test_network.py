from __future__ import annotations

import os
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from factories.tiny_detection import CLASSES, NETWORK
from ultralytics import YOLO
from ultralytics.nn.distill_model import FeatureHook
from ultralytics.nn.modules import block

from alambique.config.detect import Network
from alambique.errors import DataError
from alambique.files import sha256
from alambique.tasks.yolo import network


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (network.build(NETWORK, CLASSES, seed) for seed in (3, 3, 4))
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(other))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_scale_is_a_letter_or_three_numbers() -> None:
    letter = network.build(Network(scale="n"), CLASSES, 0)
    numbers = network.build(Network(scale=(0.5, 0.25, 1024)), CLASSES, 0)
    assert torch.equal(weights(letter), weights(numbers))
    assert network.parameters(network.build(NETWORK, CLASSES, 0)) < network.parameters(letter) / 20


def test_a_checkpoint_is_a_plain_ultralytics_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    network.save(network.build(NETWORK, CLASSES, 0), path, image_size=64)
    model = YOLO(path)
    assert list(model.names.values()) == CLASSES
    assert model.overrides["imgsz"] == 64
    assert len(model.predict(np.zeros((64, 64, 3), np.uint8), verbose=False)) == 1
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("weights/data.pkl")
    assert b"alambique" not in pickled
    assert str(Path.cwd()).encode() not in pickled


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        network.save(network.build(NETWORK, CLASSES, 0), tmp_path / name / "weights.pt", image_size=64)
    assert sha256(tmp_path / "one/weights.pt") == sha256(tmp_path / "two/weights.pt")


class Intruder:
    """Creates a file when it is unpickled."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.evidence), 0o700)


def test_given_weights_that_run_code_are_refused_unrun(tmp_path: Path) -> None:
    torch.save({"model": Intruder(tmp_path / "evidence")}, tmp_path / "given.pt")
    with pytest.raises(DataError, match=r"cannot use .*given\.pt"):
        network.verify_loadable(tmp_path / "given.pt")
    assert not (tmp_path / "evidence").exists()


def test_a_stages_own_checkpoint_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    torch.save({"model": Intruder(tmp_path / "evidence")}, tmp_path / "weights.pt")
    for load in (network.load, YOLO):
        with pytest.raises((DataError, TypeError)):
            load(tmp_path / "weights.pt")
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "given.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot use .*given.pt: it is (empty|a text)"):
        network.load(tmp_path / "given.pt")


def test_a_checkpoint_is_loaded_from_a_path_that_ultralytics_would_change(tmp_path: Path) -> None:
    folder = tmp_path / " it's mine "
    folder.mkdir()
    network.save(built := network.build(NETWORK, CLASSES, 0), folder / "yolov5n.pt", image_size=64)
    loaded = network.load(folder / "yolov5n.pt")
    assert loaded.pt_path == str(folder / "yolov5n.pt")
    assert torch.equal(weights(loaded), weights(built).half().float())


def test_layers_that_the_installed_ultralytics_lacks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = types.new_class("MyAttention", (torch.nn.Module,), {})
    layer.__module__ = block.__name__
    model = network.build(NETWORK, CLASSES, 0)
    with monkeypatch.context() as patch:
        patch.setattr(block, "MyAttention", layer, raising=False)
        model.extra = layer()
        torch.save({"model": model}, tmp_path / "given.pt")
    with pytest.raises(DataError, match=r"it needs ultralytics\.nn\.modules\.block\.MyAttention, which Ultralytics"):
        network.verify_loadable(tmp_path / "given.pt")


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        ("yolov10n", r"DetectionModel \(yolov10n\) with a v10Detect head"),
        ("yolo26n-seg", r"SegmentationModel \(yolo26n-seg\)"),
        ("yolo26n-cls", r"ClassificationModel \(yolo26n-cls\)"),
    ],
)
def test_a_network_of_another_family_or_task_is_refused_by_what_it_is(
    tmp_path: Path, architecture: str, named: str
) -> None:
    model = YOLO(f"{architecture}.yaml", verbose=False).model
    torch.save({"model": model, "train_args": {}}, tmp_path / "given.pt")
    with pytest.raises(DataError, match=f"holds a {named}; give a YOLO26, YOLO11 or YOLOv8 detector"):
        network.load(tmp_path / "given.pt")


def test_equal_seeds_give_equal_heads_for_other_classes(tmp_path: Path) -> None:
    # With many classes the branch is wide, as COCO's is, and Ultralytics makes its last layer anew.
    network.save(network.build(NETWORK, [f"{number}" for number in range(40)], 1), tmp_path / "given.pt", image_size=64)
    states = []
    for seed, drawn_before in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(drawn_before)
        built = network.build(NETWORK, CLASSES, 2)
        states.append(network.start_from(built, tmp_path / "given.pt", seed).state_dict())
    first, again, other = states
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_a_student_cannot_start_from_a_smaller_network(tmp_path: Path) -> None:
    network.save(network.build(NETWORK, CLASSES, 1), tmp_path / "given.pt", image_size=64)
    with pytest.raises(DataError, match=r"cannot be narrowed to the one configured .*: layer model\.0\.conv has 8"):
        network.start_from(network.build(Network(scale="n"), CLASSES, 2), tmp_path / "given.pt", seed=0)


def test_macs_are_those_of_the_deployed_network() -> None:
    model = network.build(NETWORK, CLASSES, 0)
    first = model.model[0].conv
    stem = first.weight.numel() * 32 * 32  # one product per weight and output pixel
    assert network.macs(model, 64) > stem
    # Attention grows with the square of the pixels, everything else in proportion.
    assert network.macs(model, 128) == pytest.approx(4 * network.macs(model, 64), rel=0.02)
    assert not model.is_fused()
    # A head that only training needs must not count.
    del model.model[-1].cv2, model.model[-1].cv3
    model.model[-1].cv2 = model.model[-1].cv3 = None
    assert network.macs(model, 64) == network.macs(network.build(NETWORK, CLASSES, 0), 64)


def test_the_card_describes_the_file_beside_it(tmp_path: Path) -> None:
    model = network.build(NETWORK, CLASSES, 0)
    network.save(model, tmp_path / "weights.pt", image_size=64)
    card = network.describe(tmp_path, 64, "detect")
    assert card["sha256"] == sha256(tmp_path / "weights.pt")
    assert card["size_bytes"] == (tmp_path / "weights.pt").stat().st_size
    assert card["parameters"] == network.parameters(model)
    assert card["macs"] == network.macs(model, 64)
    assert card["classes"] == CLASSES


def test_a_checkpoint_does_not_depend_on_who_listened_to_the_layers(tmp_path: Path) -> None:
    model, path = network.build(NETWORK, CLASSES, 0), tmp_path / "weights.pt"
    network.save(model, path, image_size=64)
    alone = sha256(path)
    model.model[16].register_forward_hook(FeatureHook({0: torch.ones(1000)}, 0))
    network.save(model, path, image_size=64)
    assert sha256(path) == alone
    assert model.model[16]._forward_hooks
