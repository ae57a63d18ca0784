from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import subjects
import torch
from tiny import out, params, project
from torch import nn
from ultralytics import YOLO
from ultralytics.utils import callbacks

from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import read_json, sha256
from alambique.layout import checkpoint
from alambique.tasks import Metrics
from alambique.tasks.detect import network, prune
from alambique.tasks.detect.soft_labels import soft_labels

DISTILLED, PRUNED = checkpoint("pico", "distilled", 0), checkpoint("pico", "pruned")


def asked(share: float) -> Params:
    return params(prune={"share": share, "epochs": 1})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with soft labels and a distilled student. Read-only."""
    root = project(tmp_path_factory.mktemp("distilled"), scenes)
    subjects.checkpoint(root)
    for shard in (0, 1):
        soft_labels(root, params(), shard, out(root, f"soft_labels/{shard}"))
    folder = subjects.checkpoint(root, DISTILLED, "distilled", "pico")
    (folder / "curves.csv").write_text("epoch\n1\n")
    return root


@pytest.fixture(scope="module")
def pruned(root: Path) -> tuple[Path, Metrics]:
    """The folder and the metrics of the student with 30 % less to compute, after one epoch of recovery."""
    folder = out(root, PRUNED)
    return folder, prune.prune(root, asked(0.3), "pico", folder)


def test_pruned_student_is_smaller_and_stays_so_through_recovery(root: Path, pruned: tuple[Path, Metrics]) -> None:
    folder, metrics = pruned
    before, after = (network.load(root / path / "weights.pt") for path in (DISTILLED, PRUNED))
    assert metrics["parameters_before"] == network.parameters(before)
    assert metrics["parameters"] == network.parameters(after) < network.parameters(before)
    assert metrics["macs_before"] == network.macs(before, 64)
    assert (metrics["target"], metrics["importance"]) == ("macs", "magnitude")
    assert metrics["removed"] == pytest.approx(1 - network.macs(after, 64) / network.macs(before, 64))
    assert metrics["removed"] == pytest.approx(0.3, abs=0.03)
    assert metrics["size_bytes"] == (folder / "weights.pt").stat().st_size
    assert metrics["size_bytes"] < (root / DISTILLED / "weights.pt").stat().st_size


def test_pruned_student_learns_from_the_soft_labels(pruned: tuple[Path, Metrics]) -> None:
    folder, metrics = pruned
    assert metrics["train_kd_loss"] > 0
    assert (folder / "curves.csv").read_text().count("\n") == 2


def test_card_says_what_was_pruned(root: Path, pruned: tuple[Path, Metrics]) -> None:
    folder, metrics = pruned
    card = read_json(folder / "card.json")
    assert card["kind"] == "pruned"
    assert card["student"] == "pico"
    assert card["sha256"] == sha256(folder / "weights.pt")
    assert card["source"] == sha256(root / DISTILLED / "weights.pt")
    assert card["data"] == Dataset.load(root / "data").digest("train")
    assert card["macs"] == metrics["macs"]


def test_a_share_of_nothing_copies_the_student(root: Path, tmp_path: Path) -> None:
    metrics = prune.prune(root, asked(0), "pico", tmp_path)
    for name in ("weights.pt", "curves.csv"):
        assert sha256(tmp_path / name) == sha256(root / DISTILLED / name)
    assert metrics["removed"] == 0
    assert read_json(tmp_path / "card.json")["kind"] == "pruned"


def test_a_share_out_of_reach_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nearest share is"):
        prune.prune(root, asked(0.97), "pico", tmp_path)


def test_training_that_grows_the_network_back_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def regrow(model: nn.Module, project: Path, params: Params, epochs: int, target: Path) -> Metrics:
        shutil.copyfile(project / DISTILLED / "weights.pt", target / "weights.pt")
        return {}

    monkeypatch.setattr(prune, "recover", regrow)
    with pytest.raises(IntegrityError, match="must keep the network"):
        prune.prune(root, asked(0.3), "pico", tmp_path)


def test_a_changed_student_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / DISTILLED, tmp_path / DISTILLED)
    with (tmp_path / DISTILLED / "weights.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match="sha256"):
        prune.prune(tmp_path, asked(0.3), "pico", tmp_path)


def test_pruned_student_can_be_trained_further_and_predict_with_ultralytics_alone(
    root: Path, pruned: tuple[Path, Metrics], scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(callbacks, "add_integration_callbacks", lambda _: None)  # its loggers write elsewhere
    data = shutil.copytree(scenes, tmp_path / "data")  # Ultralytics leaves a cache beside the labels
    detector = YOLO(pruned[0] / "weights.pt")
    start = detector.model.model[0].conv.weight.clone()
    arguments = {"imgsz": 64, "batch": 8, "workers": 0, "device": "cpu", "project": str(tmp_path / "runs")}
    detector.train(
        data=str(data / "data.yaml"), epochs=1, optimizer="AdamW", lr0=1e-9, warmup_epochs=0, plots=False, **arguments
    )
    again = network.load(Path(detector.trainer.last))
    assert network.parameters(again) == pruned[1]["parameters"]
    assert torch.allclose(again.model[0].conv.weight, start.float(), atol=1e-3)  # it went on, not anew
    assert (
        len(YOLO(detector.trainer.last).predict(str(data / "images/test"), imgsz=64, device="cpu", verbose=False)) == 8
    )
