"""The gate with everything around it: a clone, the pulled report, MLflow."""

from __future__ import annotations

import pytest
from factories.finished_run import gate_request
from mlflow import MlflowClient

from alambique.errors import IntegrityError
from alambique.messages import RunRequest
from alambique.registry.gate_command import gate
from alambique.registry.model_versions import register


def test_gate_marks_versions_and_names_a_challenger_for_each_model(tracked: RunRequest, client: MlflowClient) -> None:
    request = gate_request(tracked, register(tracked).versions)
    decisions = gate(request)
    assert [version.candidate for version in decisions.challengers] == ["pico-onnx-fp32", "pico-openvino-fp32"]
    assert decisions.champions == {}
    for version in decisions.challengers:
        challenger = client.get_model_version_by_alias(version.model, "challenger")
        assert str(challenger.version) == version.version
    for decision in decisions.decisions:
        tags = client.get_model_version(decision.version.model, decision.version.version).tags
        assert tags["alambique.gate"] == "passed"


def test_a_rejected_version_says_why_and_loses_its_alias(tracked: RunRequest, client: MlflowClient) -> None:
    request = gate_request(tracked, register(tracked).versions)
    gate(request)
    others = [version.model_copy(update={"sha256": "f" * 64}) for version in request.versions]
    decisions = gate(request.model_copy(update={"versions": others}))
    assert decisions.challengers == []
    for version in others:
        tags = client.get_model_version(version.model, version.version).tags
        assert tags["alambique.gate"] == "rejected"
        assert tags["alambique.gate.reasons"].startswith("evaluated: other_artifact (registered was ffffff")
        assert client.get_registered_model(version.model).aliases == {}


def test_a_champion_that_was_not_measured_does_not_pass_for_none(untracked: RunRequest) -> None:
    request = gate_request(untracked, register(untracked).versions)
    run = request.run.model_copy(update={"champions": {"onnx": "7"}})
    with pytest.raises(IntegrityError, match="version 7 as champion of tiny-onnx"):
        gate(request.model_copy(update={"run": run}))
