from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.panel.arms import ARMS, BASELINE, SEEDS, STUDENT, TEACHER, Run, changes, figures, runs, teacher_figures
from benchmarks.panel.sets import FULL, SETUPS, SHARES, PanelSet

from alambique import config
from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.files import write_json
from alambique.layout import EvaluationTarget
from alambique.runs.new_project import template_for, write_params

COCO = Path("/weights/yolo26n.pt")


def params(tmp_path: Path, name: str, share: int, weights: Path | None) -> Params:
    """Those of a share's project."""
    panel_set = PanelSet(name, SETUPS[name], Dataset(tmp_path, ["a"], {}), weights, tmp_path)
    write_params(tmp_path / "params.yaml", {"task": "detect", **changes(panel_set, share)})
    made: Any = config.load(tmp_path)
    return made


@pytest.fixture
def panel_set(tmp_path: Path) -> PanelSet:
    return PanelSet("cards", SETUPS["cards"], Dataset(tmp_path, ["a"], {}), COCO, tmp_path)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", SETUPS)
def test_both_arms_have_one_rule_and_one_ceiling(tmp_path: Path, name: str, share: int) -> None:
    made = params(tmp_path, name, share, COCO)
    default = yaml.safe_load(template_for("detect").read_text())["training"]
    for key in ("patience", "val_interval", "learning_rate", "batch"):
        assert getattr(made.training, key) == default[key]
    assert made.distill.steps == made.teacher[TEACHER].steps == SETUPS[name].steps
    assert made.networks[STUDENT].scale == made.networks[BASELINE].scale


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("weights", [COCO, None])
def test_the_control_starts_from_what_the_teacher_was_trained_from(
    tmp_path: Path, share: int, weights: Path | None
) -> None:
    made = params(tmp_path, "cards", share, weights)
    assert ARMS["control"].student == ARMS["builtin"].student == BASELINE
    assert made.student_weights(BASELINE) == (weights and str(weights))
    assert not made.starts_from_teacher(BASELINE)
    assert made.starts_from_teacher(STUDENT)


def test_the_teacher_is_trained_on_all_labels_and_fetched_where_there_are_fewer(tmp_path: Path) -> None:
    teachers = {share: params(tmp_path, "cards", share, COCO).teacher[TEACHER] for share in SHARES}
    assert (teachers[FULL].source, teachers[FULL].weights) == ("train", str(COCO))
    trained = tmp_path / "100/models/teacher/main/weights.pt"
    for share in (10, 20):
        assert (teachers[share].source, teachers[share].weights) == ("fetch", str(trained))


def test_cards_are_not_mirrored(tmp_path: Path) -> None:
    assert params(tmp_path, "cards", 10, COCO).training.flip == 0


def test_a_run_is_trained_in_the_project_of_its_method(tmp_path: Path) -> None:
    projects = {arm: Run(10, arm, 0).project(tmp_path).name for arm in ARMS}
    assert projects == {"control": "10", "distilled": "10", "start": "10", "builtin": "10-feature"}


@pytest.mark.parametrize("run", runs())
def test_a_student_is_trained_and_then_measured(run: Run) -> None:
    train, measure = run.stages
    assert train.name == {"control": "control", "start": "ablation"}.get(run.arm, "distill")
    assert (train.arguments[0], train.arguments[-1]) == (ARMS[run.arm].student, str(run.seed))
    target = EvaluationTarget.parse(*measure.arguments)
    assert (target.seed, target.student, target.kind) == (run.seed, ARMS[run.arm].student, ARMS[run.arm].kind)


def test_no_training_is_done_twice(tmp_path: Path) -> None:
    places = [(run.project(tmp_path), run.target) for run in runs()]
    assert len(set(places)) == len(places) == 8 * len(SEEDS)


def test_arms_are_trained_where_a_row_needs_them() -> None:
    assert {run.share for run in runs() if run.arm == "start"} == {10}
    assert {run.share for run in runs() if run.arm == "builtin"} == {100}
    assert {run.arm for run in runs(shares=(20,), seeds=(1,))} == {"control", "distilled"}


def test_the_first_seed_is_done_before_another_begins() -> None:
    seeds = [run.seed for run in runs()]
    assert seeds == sorted(seeds)


def test_a_single_training_is_published_with_its_steps(panel_set: PanelSet) -> None:
    accuracy = {"map50_95": 0.5, "map50": 0.7, "precision": 0.6}
    outcome = {"steps": 1200, "best_step": 700, "still_improving": False, "images": 25}
    run = Run(10, "start", 2)
    project = panel_set.folder / "10"
    write_json(project / "metrics/ablation/pico-start-2.json", outcome)
    assert not run.done(panel_set.folder)
    write_json(project / "metrics/evaluate/pico-start-2.json", accuracy)
    assert run.done(panel_set.folder)
    expected = {"map50_95": 0.5, "map50": 0.7, "steps": 1200, "best_step": 700, "still_improving": False}
    assert figures(panel_set, run) == {"set": "cards", "share": 10, "arm": "start", "seed": 2, **expected}

    write_json(panel_set.folder / "100/metrics/teacher/main.json", outcome)
    write_json(panel_set.folder / "100/metrics/evaluate/teacher-main.json", accuracy)
    assert teacher_figures(panel_set) == {"set": "cards", "share": 100, "arm": "teacher", "seed": 0, **expected}
