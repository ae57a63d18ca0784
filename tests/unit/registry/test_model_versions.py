from __future__ import annotations

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from factories.finished_run import NAMES, write_candidate
from mlflow import MlflowClient

from alambique.errors import IntegrityError
from alambique.messages import RunRequest, StageResult
from alambique.registry import client as door
from alambique.registry.model_versions import register, verified_card


@pytest.mark.timeout(300)
def test_candidates_are_registered_once_and_load_on_their_runtime(tracked: RunRequest, client: MlflowClient) -> None:
    registered = register(tracked)
    assert [version.candidate for version in registered.versions] == list(NAMES)
    assert [version.model for version in registered.versions] == ["tiny-onnx"] * 2 + ["tiny-openvino"] * 2
    assert register(tracked) == registered
    assert len(client.search_model_versions()) == len(NAMES)

    experiment = client.get_experiment_by_name("tiny").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`alambique.run` = 'r1'")
    for version in registered.versions:
        tags = client.get_model_version(version.model, version.version).tags
        student, _, precision = version.candidate.split("-")
        assert tags["alambique.digest"] == version.sha256
        assert (tags["alambique.student"], tags["alambique.precision"]) == (student, precision)
        assert tags["alambique.key"] == f"key-of-export_{version.candidate.replace('-', '_')}"
        assert tags["alambique.run"] == parent.data.tags["alambique.run"] == "r1"
        assert tags["alambique.teacher"] == "e" * 64
        assert tags["alambique.data"] == "1" * 32 + ".dir"
        assert tags["alambique.map50_95"] == ("0.6" if precision == "fp32" else "0.5")

    image = np.zeros((1, 3, 64, 64), np.float32)
    for version in registered.versions:
        with door.global_uri(str(tracked.deployment.tracking_uri)):
            model = mlflow.pyfunc.load_model(f"models:/{version.model}/{version.version}")
        boxes = model.predict(image)
        assert boxes.shape == (1, 2, 6)
        assert np.allclose(boxes, 1.0 if version.candidate.endswith("fp32") else 2.0)
        assert model.metadata.signature.inputs.inputs[0].shape == (1, 3, 64, 64)


def test_without_mlflow_versions_are_named_by_their_digest(untracked: RunRequest) -> None:
    for version in register(untracked).versions:
        assert version.version == version.sha256[:12]


def test_reused_stages_are_shown_in_the_run(tracked: RunRequest, client: MlflowClient) -> None:
    stages = {
        name: StageResult(stage=name, key=result.key, entry=result.entry, found="lock")
        for name, result in tracked.stages.items()
    }
    register(tracked.model_copy(update={"stages": stages}))
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.`alambique.found` = 'lock'")
    assert {run.data.tags["alambique.stage"] for run in runs} == set(stages)


def test_a_run_without_a_report_cannot_be_registered(untracked: RunRequest) -> None:
    stages = {name: result for name, result in untracked.stages.items() if name != "compare"}
    with pytest.raises(IntegrityError, match="no stage of run r1 made report"):
        register(untracked.model_copy(update={"stages": stages}))


def test_what_was_changed_after_export_is_refused(tmp_path: Path) -> None:
    card = write_candidate(tmp_path / NAMES[0], NAMES[0])
    assert verified_card(tmp_path / NAMES[0]) == card
    (tmp_path / NAMES[0] / "model.onnx").write_bytes(b"another network")
    with pytest.raises(IntegrityError, match=card["digest"][:12]):
        verified_card(tmp_path / NAMES[0])


def test_a_registered_model_holds_the_very_bytes_that_were_judged(tracked: RunRequest, tmp_path: Path) -> None:
    version = register(tracked).versions[0]
    with door.global_uri(str(tracked.deployment.tracking_uri)):
        downloaded = mlflow.artifacts.download_artifacts(f"models:/{version.model}/{version.version}")
    assert verified_card(Path(downloaded) / "data" / version.candidate)["digest"] == version.sha256
