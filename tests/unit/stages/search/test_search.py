from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories import checkpoints, tiny_detection
from factories.stage_work import soft_labels
from pytest import MonkeyPatch

from alambique import tasks
from alambique.config.detect import Params
from alambique.errors import DataError
from alambique.files import read_json, sha256, write_json
from alambique.layout import CHOICE, checkpoint
from alambique.process.events import EVENTS_FILE
from alambique.stages import prune
from alambique.stages import search as stage
from alambique.stages.prune import prune_and_recover
from alambique.stages.search import artifact_factory
from alambique.stages.search.artifact_factory import ArtifactFactory
from alambique.stages.work import open_program
from alambique.tasks.yolo import network, sensitivity
from alambique.tasks.yolo.widths import schedule, widths

DISTILLED = checkpoint("pico", "distilled", 0)


def params(**budget: float) -> Params:
    """FP32 of 0.31 MB unpruned and 0.22 MB with 30 % less; INT8 is larger, since so small a network is mostly names."""
    return tiny_detection.params(
        budget={"steps": 4, **budget},
        quantize={"images": 12},
        benchmark={"threads": 1, "warmup": 1, "runs": 5},
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with soft labels and a distilled student."""
    root = tiny_detection.project(tmp_path_factory.mktemp("distilled"), scenes)
    checkpoints.checkpoint(root)
    for shard in (0, 1):
        soft_labels(root, tiny_detection.params(), shard, tiny_detection.out(root, f"soft_labels/{shard}"))
    folder = checkpoints.checkpoint(root, DISTILLED, "distilled", "pico")
    (folder / "curves.csv").write_text("step\n1\n")
    write_json(root / "metrics/validate.json", {"success": True})
    return root


def searched(root: Path, asked: Params) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stage wrote: choice.json and the metrics."""
    (root / "params.yaml").write_text(yaml.safe_dump(asked.model_dump(mode="json")))
    stage.run(root)
    return read_json(root / CHOICE), read_json(root / "metrics/search.json")


@pytest.fixture(scope="module")
def found(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A search for a budget that can be met, and the live curve that it left."""
    events = tmp_path_factory.mktemp("events") / "events.jsonl"
    with MonkeyPatch.context() as patch:
        patch.setattr(artifact_factory, "RATIOS", (0.0, 0.3))
        patch.setenv(EVENTS_FILE, str(events))
        return (*searched(root, params(size_mb=0.26)), events.read_text())


def test_a_budget_within_reach_is_met(found: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    choice, metrics, _ = found
    assert choice["meets_budget"] is metrics["meets_budget"] is True
    assert metrics["chosen"] == choice["chosen"]["candidate"] == "pico-onnx-fp32"
    assert choice["shares"] == metrics["share"] == {"pico": 0.3}
    assert metrics["size_mb"] <= 0.26
    assert (metrics["combinations"], metrics["trials"], metrics["trainings"]) == (4, 1, 1)
    assert choice["exceeded"] == []


def test_every_combination_was_weighed_and_timed(found: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    choice = found[0]
    costs = {(each["precision"], each["share"]): each for each in choice["costs"]}
    assert set(costs) == {(precision, share) for precision in ("fp32", "int8") for share in (0.0, 0.3)}
    assert costs["fp32", 0.3]["size_mb"] < 0.26 < costs["fp32", 0.0]["size_mb"]
    assert all(0 < each["latency_p50_ms"] <= each["latency_p95_ms"] for each in costs.values())
    assert [each["exceeds"] for each in costs.values()] == [["size_mb"], ["size_mb"], [], ["size_mb"]]
    assert choice["benchmark"]["runs"] == 5


def test_the_drop_is_from_the_student_as_it_was_distilled(
    root: Path, found: tuple[dict[str, Any], dict[str, Any], str]
) -> None:
    choice = found[0]
    task = tasks.load("detect")
    validation = task.validation(root / DISTILLED, task.dataset(root / "data"), params())
    expected = validation.headline(open_program(task, root / DISTILLED, 1))
    assert choice["reference"] == choice["unpruned"]["pico"] == expected
    (trial,) = choice["trials"]
    assert trial["drop"] == choice["reference"] - trial["accuracy"]
    assert trial["trained"]


def test_a_trial_is_a_point_of_the_live_curve_and_its_steps_are_not(
    found: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    assert found[2].count("\n") == 1
    assert '"map50_95"' in found[2]
    assert EVENTS_FILE not in os.environ


def test_a_budget_out_of_reach_is_warned_of_and_the_nearest_is_chosen(
    root: Path, monkeypatch: MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setattr(artifact_factory, "RATIOS", (0.3, 0.9))  # of which the second one is too much for these widths
    choice, metrics = searched(root, params(size_mb=0.01, max_drop=0.5))
    assert metrics["meets_budget"] is False
    assert (metrics["chosen"], metrics["share"]) == ("pico-onnx-fp32", {"pico": 0.3})
    assert metrics["trainings"] == 0
    (exceeded,) = choice["exceeded"]
    assert exceeded["by"] == metrics["exceeded"]["size_mb"] == pytest.approx(metrics["size_mb"] - 0.01)
    assert "Nothing measured meets the budget. Nearest is pico-onnx-fp32 with 30 % pruned" in warned[0]
    assert warned[1].startswith("size_mb 0.01 is out of reach by 0.2")


def test_without_a_budget_each_student_loses_what_params_say_at_once(root: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(network, "load", None)  # no network is touched
    choice, metrics = searched(root, params())
    assert choice == {"shares": {"pico": 0.3}}
    assert metrics == {"trainings": 0}


def test_pruning_takes_the_share_that_was_chosen(root: Path) -> None:
    searched(root, params())
    write_json(root / CHOICE, {"shares": {"pico": 0.0}})
    prune.run(root, "pico")
    assert sha256(root / checkpoint("pico", "pruned") / "weights.pt") == sha256(root / DISTILLED / "weights.pt")


def test_pruning_without_a_choice_says_how_to_make_one(root: Path) -> None:
    searched(root, params())
    (root / CHOICE).unlink()
    with pytest.raises(DataError, match="run `dvc repro search`"):
        prune.run(root, "pico")


def test_an_untrained_artifact_has_the_widths_that_pruning_will_choose(
    root: Path, tmp_path: Path, monkeypatch: MonkeyPatch
) -> None:
    wide = network.load(root / DISTILLED / "weights.pt")
    full, ratios = widths(wide), (0.25, 0.5, 0.75)
    fragile = schedule(wide, "macs", [0.15], 64)[0]
    left = {slot: dict.fromkeys(ratios, 0.0 if fragile[slot] < full[slot] else 0.5) for slot in full}
    measured = sensitivity.Sensitivity(0.5, left)  # what uniform pruning narrows shall be what is fragile
    monkeypatch.setattr(sensitivity, "measure", lambda *_: measured)  # a student of a few steps finds nothing to lose
    asked = tiny_detection.params(prune={"widths": "sensitivity", "ratio": 0.15, "steps": 4})
    task = tasks.load("detect")
    factory = ArtifactFactory(root, task, asked, tmp_path)
    prune_and_recover(wide, root, task, asked, factory.dataset, tmp_path)
    pruned = network.load(tmp_path / "weights.pt")
    assert widths(factory.pruned("pico", 0.15)) == widths(pruned)
    assert widths(pruned) != fragile
