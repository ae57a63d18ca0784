"""The whole of it: `init`, the real DAGs by Airflow's test runner, real DVC, MLflow and training; then again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories import kubeflow

from alambique import layout
from alambique.demo.digits import Scenes
from alambique.demo.run import run_dag
from alambique.files import folder_sha256, read_json
from alambique.git import git
from alambique.layout import Candidate
from alambique.registry.ledger import Ledger
from alambique.runs.cli_actions import fetch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NETWORK = {"family": "yolo26", "scale": [0.34, 0.0625, 256]}
PARAMS = {
    "project": "tiny",
    "input_size": 64,
    "runtimes": ["onnx"],
    "int8": ["onnx"],
    "networks": {"pico": {**NETWORK, "weights": None}},
    "teacher": {"main": {"network": NETWORK, "steps": 6}},
    "training": {"batch": 8, "learning_rate": 0.005},
    # A teacher of six steps is sure of nothing: every box counts, or there would be none.
    "soft_labels": {"min_score": 0.0, "max_boxes": 5},
    "distill": {"steps": 8, "min_label_probability": 0.0},
    "prune": {"ratio": 0.2, "steps": 4},
    "quantize": {"images": 16},
    "benchmark": {"runs": 3, "warmup": 1},
    "validation": {"min_boxes_per_class": 0},
    # Students of eight steps are equally bad, and a tie would be broken by latency, which differs from run to run.
    "promotion": {"objective": "size"},
    "gates": [
        {"kind": "at_least", "metric": "map50_95", "value": 0.0},
        {"kind": "not_worse_than", "metric": "map50_95", "reference": "control", "margin": 1.0},
        {"kind": "at_most", "metric": "size_mb", "value": 10.0},
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first run is recorded and promoted."""
    folder = tmp_path_factory.mktemp("main-job")
    Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2).write(folder / "scenes")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    command = [sys.executable, "-m", "alambique", "init", str(folder / "tiny"), "--data", str(folder / "scenes")]
    subprocess.run([*command, "--params", str(folder / "params.yaml")], check=True)
    run_dag(folder / "tiny", "distill")
    fetch(folder / "tiny")
    run_dag(folder / "tiny", "promote")
    return folder / "tiny"


def test_a_candidate_passes_its_gates_and_becomes_champion(project: Path) -> None:
    decisions = read_json(project / "decisions.json")
    assert all(
        check["reason"] in {"passed", "first_model"} for item in decisions["decisions"] for check in item["checks"]
    )
    assert [challenger["model"] for challenger in decisions["challengers"]] == ["tiny-onnx"]
    state = Ledger(str(project / ".alambique/origin.git"), "tiny-onnx").read()
    assert state is not None
    assert state.champion.version == decisions["challengers"][0]["version"]
    assert state.champion.tag == f"runs/{decisions['run_id']}"


def test_the_tag_gives_back_the_champion_bit_for_bit(project: Path, tmp_path: Path) -> None:
    state = Ledger(str(project / ".alambique/origin.git"), "tiny-onnx").read()
    assert state is not None
    git = ["git", "clone", "--quiet", "--branch", state.champion.tag, str(project / ".alambique/origin.git")]
    subprocess.run([*git, str(tmp_path / "clone")], check=True, capture_output=True)
    folder = Candidate.parse(state.champion.candidate).folder
    subprocess.run([sys.executable, "-m", "dvc", "pull", "--quiet", str(folder)], cwd=tmp_path / "clone", check=True)
    assert folder_sha256(tmp_path / "clone" / folder, exclude=("card.json",)) == state.champion.digest


def test_every_stage_is_a_child_run_with_its_metrics(project: Path) -> None:
    children = _children(project)
    stages = set(read_json(project / "pipeline.json")["stages"])
    assert {child.data.tags["alambique.stage"] for child in children} == stages
    distill = next(child for child in children if child.data.tags["alambique.stage"] == "distill@pico-0")
    assert distill.data.metrics["train_kd_loss"] > 0
    assert distill.data.params["distill.temperature"] == "2.0"


def test_candidates_are_versions_with_signature_and_tags(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    client = _client(project)
    versions = client.search_model_versions("name = 'tiny-onnx'")
    assert {version.tags["alambique.candidate"] for version in versions} == {"pico-onnx-fp32", "pico-onnx-int8"}
    assert all(version.tags["alambique.gate"] == "passed" for version in versions)
    uri = f"sqlite:///{project}/.alambique/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # MLflow sets it, too, and it would stay for the next project
    mlflow.set_tracking_uri(uri)
    champion = client.get_model_version_by_alias("tiny-onnx", "champion")
    assert mlflow.models.get_model_info(champion.source).signature is not None


def test_the_report_stands_alone(project: Path) -> None:
    page = (project / layout.REPORT / "report.html").read_text()
    assert not re.search(r"(?:src|href)=[\"']?https?:", page)
    assert "pico-onnx-int8" in page


def test_a_second_run_trains_nothing_and_makes_no_challenger(project: Path) -> None:
    before = {child.info.run_id for child in _children(project)}
    run_dag(project, "distill")
    fetch(project)
    assert read_json(project / "decisions.json")["challengers"] == []
    found = {
        child.data.tags["alambique.stage"]: child.data.tags["alambique.found"]
        for child in _children(project)
        if child.info.run_id not in before
    }
    ran = {stage for stage, how in found.items() if how == "ran"}
    # Latency belongs to the moment, and there is a champion now, where there was none.
    assert ran == {"benchmark", "compare", "evaluate_champion@onnx"}
    assert {found["teacher@main"], found["distill@pico-0"]} <= {"lock", "store"}


def test_a_third_run_ends_when_it_sees_that_nothing_changed(project: Path) -> None:
    before = {child.info.run_id for child in _children(project)}
    run_dag(project, "distill")
    assert {child.info.run_id for child in _children(project)} == before
    newest = _client(project).search_runs([_experiment(project)], max_results=1)[0]
    assert (newest.data.tags["alambique.outcome"], newest.info.status) == ("no_new_data", "FINISHED")


def test_kubeflow_runs_the_same_stages_to_the_same_results(project: Path, tmp_path: Path) -> None:
    """On KFP's local runner; what Airflow's run computed is found by its key, and the rest is computed there."""
    before = _tags(project)
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "pipeline.json"):
        shutil.copyfile(project / name, folder / name)
    here = yaml.safe_load((project / "alambique.yaml").read_text())
    (folder / "alambique.yaml").write_text(yaml.safe_dump({**here, "pods": {"image": kubeflow.IMAGE}}))
    kubeflow.compiled(folder, tmp_path / "pipeline.yaml")
    run = [kubeflow.python(), Path(__file__).with_name("run_kubeflow.py"), tmp_path / "pipeline.yaml", json.dumps(here)]
    subprocess.run([*run, tmp_path / "outputs"], check=True, capture_output=True)
    (tag,) = _tags(project) - before
    assert tag.startswith("runs/kfp-")
    ours, theirs = (_lock(project, revision) for revision in (sorted(before)[0], tag))
    assert ours.keys() == theirs.keys()
    different = {stage for stage in ours if ours[stage] != theirs[stage]}
    # Latency belongs to the moment, and there is a champion now.
    assert different <= {"benchmark", "compare", "evaluate_champion@onnx"}


def test_a_pruned_student_trains_on_in_plain_ultralytics(project: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "pull", "--quiet"], cwd=project, check=True)
    code = f"""
from ultralytics import YOLO
for folder in ("distilled/0/pico", "pruned/pico"):
    model = YOLO({str(project)!r} + f"/models/{{folder}}/weights.pt")
    model.predict({str(project)!r} + "/data/images/test", imgsz=64, verbose=False, save=False)
    model.train(data={str(project)!r} + "/data/data.yaml", epochs=1, imgsz=64, batch=8, plots=False, verbose=False,
        save_dir=f"{{folder}}")
YOLO({str(project)!r} + "/candidates/pico-onnx-fp32/model.onnx", task="detect").predict(
    {str(project)!r} + "/data/images/test", imgsz=64, verbose=False, save=False)
print("trained")
"""
    environment = {"YOLO_CONFIG_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "trained", done.stderr


def _tags(project: Path) -> set[str]:
    return set(git("tag", "--list", "runs/*", cwd=project / ".alambique/origin.git").split())


def _lock(project: Path, revision: str) -> dict[str, Any]:
    content = git("show", f"{revision}:dvc.lock", cwd=project / ".alambique/origin.git")
    return yaml.safe_load(content)["stages"]


def _client(project: Path):  # type: ignore[no-untyped-def]
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{project}/.alambique/mlflow.db")


def _experiment(project: Path) -> str:
    experiment = _client(project).get_experiment_by_name("tiny")
    assert experiment is not None
    return str(experiment.experiment_id)


def _children(project: Path):  # type: ignore[no-untyped-def]
    query = "tags.`alambique.stage` LIKE '%'"
    return _client(project).search_runs([_experiment(project)], query, max_results=1000)
