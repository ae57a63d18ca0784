"""The pipeline that Kubeflow gets: the stages and edges of pipeline.json, with what alambique.yaml gives each."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories.airflow_project import lay_out
from factories.kubeflow import IMAGE, compiled, python

from alambique.pipeline import graph as pipeline

DEPLOYMENT = {
    "pods": {"image": IMAGE, "secrets": ["s3"], "config_maps": ["alambique"], "node_selector": {"pool": "gpu"}},
    "resources": {
        "default": {"cpu": 2, "memory": "4Gi", "retries": 1},
        "teacher": {"cpu": 8, "gpus": 1, "memory": "16Gi", "timeout_hours": 12},
    },
}
GOLDEN = Path(__file__).with_name("pipeline.golden.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("project"), deployment=DEPLOYMENT, project="cells")


@pytest.fixture(scope="module")
def documents(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return compiled(project, tmp_path_factory.mktemp("compiled") / "pipeline.yaml")


@pytest.fixture(scope="module")
def steps(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By the name that is shown."""
    return {step["taskInfo"]["name"]: step for step in documents[0]["root"]["dag"]["tasks"].values()}


def container(documents: list[dict[str, Any]], step: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A step's container, and what the platform adds."""
    label = documents[0]["components"][step["componentRef"]["name"]]["executorLabel"]
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]
    return documents[0]["deploymentSpec"]["executors"][label]["container"], platform


def test_each_stage_is_a_step_with_the_edges_of_dvc_yaml(
    project: Path, documents: list[dict[str, Any]], steps: dict[str, dict[str, Any]]
) -> None:
    graph = pipeline.read(project)
    assert steps.keys() == graph.stages.keys() | {"snapshot", "record", "promote"}
    shown = {name: step["taskInfo"]["name"] for name, step in documents[0]["root"]["dag"]["tasks"].items()}
    for stage in graph.stages:
        before = {shown[name] for name in steps[stage]["dependentTasks"]}
        assert before == {"snapshot", *graph.upstream(stage)}
        assert steps[stage]["inputs"]["parameters"]["name"]["runtimeValue"]["constant"] == stage
    assert {shown[name] for name in steps["record"]["dependentTasks"]} == {"snapshot", *graph.stages}


def test_a_step_has_the_resources_of_its_stage(
    documents: list[dict[str, Any]], steps: dict[str, dict[str, Any]]
) -> None:
    teacher, platform = container(documents, steps["teacher@main"])
    assert teacher["image"] == IMAGE
    assert teacher["resources"]["resourceCpuLimit"] == teacher["resources"]["resourceCpuRequest"] == "8"
    assert teacher["resources"]["resourceMemoryLimit"] == "16Gi"
    assert teacher["resources"]["accelerator"] == {
        "count": "1",
        "resourceCount": "1",
        "resourceType": "nvidia.com/gpu",
        "type": "nvidia.com/gpu",
    }
    assert platform["activeDeadlineSeconds"] == "43200"
    validate, _ = container(documents, steps["validate"])
    assert validate["resources"]["resourceMemoryLimit"] == "4Gi"
    assert steps["validate"]["retryPolicy"]["maxRetryCount"] == 1


def test_secrets_are_mounted_by_their_names(documents: list[dict[str, Any]], steps: dict[str, dict[str, Any]]) -> None:
    for step in steps.values():
        _, platform = container(documents, step)
        assert platform["nodeSelector"] == {"labels": {"pool": "gpu"}}
        (secret,), (config_map,) = platform["secretAsVolume"], platform["configMapAsVolume"]
        assert (secret["secretName"], secret["mountPath"]) == ("s3", "/etc/alambique/environment/s3")
        assert (config_map["configMapName"], config_map["mountPath"]) == (
            "alambique",
            "/etc/alambique/environment/alambique",
        )


def test_steps_that_differ_in_nothing_share_a_component(
    documents: list[dict[str, Any]], steps: dict[str, dict[str, Any]]
) -> None:
    # snapshot, record, promote, the stages with the default's resources, and the teacher.
    assert len(documents[0]["components"]) == len(documents[0]["deploymentSpec"]["executors"]) == 5
    assert len(yaml.safe_dump_all(documents)) < 3000 * len(steps)


def test_the_specification_is_the_one_that_is_kept(tmp_path: Path) -> None:
    """A change of the pipeline's form is seen: `cp` the new one over the golden file where it is meant."""
    root = lay_out(tmp_path / "project", deployment=DEPLOYMENT, project="cells", runtimes=["onnx"], int8=["onnx"])
    (first, _) = compiled(root, tmp_path / "pipeline.yaml")
    here = first["root"]["inputDefinitions"]["parameters"]["deployment"].pop("defaultValue")
    assert (str(root / "origin.git") in here, '"home":"/tmp/alambique"' in here) == (True, True)
    first["root"]["dag"]["tasks"] = {
        name: {"component": step["componentRef"]["name"], "after": step.get("dependentTasks", [])}
        for name, step in first["root"]["dag"]["tasks"].items()
    }
    first.pop("sdkVersion")
    assert first == yaml.safe_load(GOLDEN.read_text())


def test_a_project_without_an_image_is_refused(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "project", project="cells")
    command = [python(), "-m", "alambique", "kubeflow", "compile", "--project", root, "--output", tmp_path / "x.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr == "ConfigurationError: alambique.yaml: pods is missing; Kubeflow's steps need `pods.image`\n"
