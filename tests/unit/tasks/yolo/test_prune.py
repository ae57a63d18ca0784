from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import checkpoints
from factories.stage_work import all_soft_labels, prune
from factories.tiny_detection import out, params, project
from ultralytics import YOLO
from ultralytics.utils import callbacks

from alambique.config.detect import Params
from alambique.errors import ConfigurationError, IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json, sha256
from alambique.layout import checkpoint
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.stages import prune as stage
from alambique.tasks.trainer_state import State, StateFile
from alambique.tasks.yolo import network, sensitivity
from alambique.tasks.yolo.dataset import YoloDataset

DISTILLED, PRUNED = checkpoint("pico", "distilled", 0), checkpoint("pico", "pruned")


STEERED = {"target": "parameters", "importance": "taylor", "widths": "sensitivity", "rounds": 2}


def asked(share: float, **how: Any) -> Params:
    return params(prune={"ratio": share, "steps": 4, **how})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with soft labels and a distilled student. Read-only."""
    root = project(tmp_path_factory.mktemp("distilled"), scenes)
    checkpoints.checkpoint(root)
    all_soft_labels(root, params())
    folder = checkpoints.checkpoint(root, DISTILLED, "distilled", "pico")
    (folder / "curves.csv").write_text("step\n1\n")
    return root


@pytest.fixture(scope="module")
def steered(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Metrics]:
    """The same after two rounds, with every option away from its default."""
    folder = tmp_path_factory.mktemp("steered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "RATIOS", (0.5,))
        return folder, prune(root, asked(0.25, **STEERED), "pico", folder)


@pytest.fixture(scope="module")
def pruned(root: Path) -> tuple[Path, Metrics]:
    """The folder and the metrics of the student with 30 % less to compute, after four steps of recovery."""
    folder = out(root, PRUNED)
    return folder, prune(root, asked(0.3), "pico", folder)


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


def test_rounds_end_at_the_share_and_their_steps_follow_each_other(steered: tuple[Path, Metrics]) -> None:
    folder, metrics = steered
    assert metrics["removed"] == 1 - metrics["parameters"] / metrics["parameters_before"]
    assert metrics["removed"] == pytest.approx(0.25, abs=0.03)
    assert [metrics[name] for name in ("target", "importance", "rounds", "steps")] == ["parameters", "taylor", 2, 8]
    rows = (folder / "curves.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "4", "8"]
    assert rows[1] != rows[2]


def test_each_round_removes_as_much_of_what_is_left() -> None:
    assert stage.ratios(0.488, 3) == pytest.approx([0.2, 0.36, 0.488])
    assert stage.ratios(0.3, 1) == [0.3]


def test_the_scan_is_kept_beside_the_checkpoint_and_among_the_metrics(steered: tuple[Path, Metrics]) -> None:
    folder, metrics = steered
    scan = read_json(folder / "sensitivity.json")
    narrowed = [layer for layer in scan["layers"] if layer["map50_95"]]  # a layer of 8 channels has no narrower twin
    assert len(narrowed) == len(metrics["sensitivity"]) > 1
    (share, left), *_ = narrowed[0]["map50_95"]
    name = f"{narrowed[0]['layer']} {narrowed[0]['part']}"
    assert metrics["sensitivity"][name][f"{share:.3g}"] == scan["map50_95"] - left


@pytest.mark.slow
def test_a_killed_stage_goes_on_in_its_round_and_ends_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    two_rounds = asked(0.3, rounds=2, steps=6)
    whole, resumed = out(tmp_path, "whole"), out(tmp_path, "resumed")
    prune(root, two_rounds, "pico", whole)
    monkeypatch.setenv(RESUME_FOLDER, str(tmp_path / "resume"))
    states, write = [], StateFile.write

    def write_and_stop(self: StateFile, state: State) -> None:
        self.interval = 0.0
        write(self, state)
        states.append(state)
        if len(states) == 2:  # in the second round: each leaves one, since the last interval has none
            raise KeyboardInterrupt

    monkeypatch.setattr(StateFile, "write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        prune(root, two_rounds, "pico", out(tmp_path, "killed"))
    monkeypatch.setattr(StateFile, "write", write)
    said.clear()
    prune(root, two_rounds, "pico", resumed)
    (line,) = [each for each in said if "resuming after" in each]
    assert "resuming after step 3 of 6" in line
    assert not any("another training" in each for each in said)
    for name in ("weights.pt", "curves.csv"):
        assert sha256(resumed / name) == sha256(whole / name)
    assert (whole / "curves.csv").read_text().count("\n") == 1 + 4


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
    assert card["data"] == YoloDataset.load(root / "data").digest("train")
    assert card["macs"] == metrics["macs"]


def test_a_share_of_nothing_copies_the_student(root: Path, tmp_path: Path) -> None:
    metrics = prune(root, asked(0), "pico", tmp_path)
    for name in ("weights.pt", "curves.csv"):
        assert sha256(tmp_path / name) == sha256(root / DISTILLED / name)
    assert metrics["removed"] == 0
    assert read_json(tmp_path / "card.json")["kind"] == "pruned"


def test_a_share_out_of_reach_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nearest share is"):
        prune(root, asked(0.97), "pico", tmp_path)


def test_training_that_grows_the_network_back_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def regrow(network: Any, project: Path, task: Any, params: Any, dataset: Any, target: Path, *rest: Any) -> Metrics:
        shutil.copyfile(project / DISTILLED / "weights.pt", target / "weights.pt")
        return {}

    monkeypatch.setattr(stage, "recover", regrow)
    with pytest.raises(IntegrityError, match="must keep the network"):
        prune(root, asked(0.3), "pico", tmp_path)


def test_a_changed_student_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / DISTILLED, tmp_path / DISTILLED)
    with (tmp_path / DISTILLED / "weights.pt").open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match="sha256"):
        prune(tmp_path, asked(0.3), "pico", tmp_path)


@pytest.mark.parametrize("made", ["pruned", "steered"])
def test_pruned_student_can_be_trained_further_and_predict_with_ultralytics_alone(
    made: str, request: pytest.FixtureRequest, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: tuple[Path, Metrics] = request.getfixturevalue(made)
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
