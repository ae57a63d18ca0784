"""Publishing from a real ledger and a real DVC remote to a real S3 server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.finished_run import judged, record_request
from factories.releases import whole
from factories.s3 import s3_server

from alambique import pull
from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError, ConflictError, IntegrityError, PermanentError
from alambique.files import read_json, write_json
from alambique.git import git
from alambique.layout import artifact_digest
from alambique.messages import PromoteRequest, Published, PublishRequest, RollbackRequest, RunRequest, Version
from alambique.registry import publishing, run_artifacts, signing
from alambique.registry.ledger import Ledger
from alambique.registry.model_versions import register
from alambique.registry.promotion import promote, rollback
from alambique.registry.publishing import publish
from alambique.runs import cli_actions
from alambique.runs.record import record

MODEL = "tiny-onnx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with s3_server(tmp_path_factory.mktemp("s3")):
        yield


@pytest.fixture(scope="session")
def two_runs(template: RunRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An origin where r1 made the FP32 artifact a challenger, and r2 the INT8 one over it."""
    home = tmp_path_factory.mktemp("two_runs")
    shutil.copytree(template.deployment.origin, home / "origin.git")
    deployment = template.deployment.model_copy(update={"origin": str(home / "origin.git"), "home": home})
    request = template.model_copy(update={"deployment": deployment})
    versions = {version.candidate: version for version in register(request).versions}
    first, second = versions["pico-onnx-fp32"], versions["pico-onnx-int8"]
    for decisions in (judged("r1", first), judged("r2", second, champions={MODEL: first.sha256})):
        run = request.run.model_copy(update={"run_id": decisions.run_id})
        record(record_request(request.model_copy(update={"run": run}), decisions))
    return str(home / "origin.git")


@pytest.fixture
def deployment(two_runs: str, server: None, tmp_path: Path) -> Deployment:
    shutil.copytree(two_runs, tmp_path / "origin.git")
    releases = f"s3://bucket/{tmp_path.name}/releases"
    return Deployment(origin=str(tmp_path / "origin.git"), home=tmp_path / "home", releases=releases)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What publishers asked of S3."""
    calls: list[str] = []
    connect = publishing.client

    def client() -> Any:
        s3 = connect()
        s3.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
        return s3

    monkeypatch.setattr(publishing, "client", client)
    return calls


def promote_(deployment: Deployment, run_id: str) -> Version:
    (version,) = promote(PromoteRequest(deployment=deployment, tag=f"runs/{run_id}", by="ann")).champions
    return version


def publish_(deployment: Deployment) -> str:
    return publish(PublishRequest(deployment=deployment, models=[MODEL])).releases[MODEL]


def s3() -> Any:
    import boto3

    return boto3.client("s3")


def get(url: str) -> bytes:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    content: bytes = s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def put(url: str, content: bytes) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3().put_object(Bucket=bucket, Key=key, Body=content)


def remove(url: str) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3().delete_object(Bucket=bucket, Key=key)


def pointer(deployment: Deployment) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(get(f"{deployment.releases}/{MODEL}/champion.json"))
    return content


def test_a_champion_is_published_and_reaches_a_device(deployment: Deployment, tmp_path: Path) -> None:
    version = promote_(deployment, "r1")
    url = publish_(deployment)
    state = Ledger(deployment.origin, MODEL).read()
    assert state
    manifest = get(f"{url}/manifest.json")
    assert pointer(deployment) == {
        "schema": 1,
        "model": MODEL,
        "version": version.version,
        "candidate": "pico-onnx-fp32",
        "tag": "runs/r1",
        "digest": version.sha256,
        "manifest": hashlib.sha256(manifest).hexdigest(),
        "commit": state.sha,
        "sequence": 1,
    }
    content = json.loads(manifest)
    listed = {file.pop("name"): file for file in content.pop("files")}
    assert content.pop("schema") == 1
    assert content.items() <= state.champion.model_dump().items()
    assert content.keys() >= {"gate_digest", "digest", "tag"}
    assert listed.keys() == {"model.onnx", "card.json"}
    for name, known in listed.items():
        body = get(f"{url}/{name}")
        assert known == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert pull.main([f"{deployment.releases}/{MODEL}", str(tmp_path / "model")]) == 0
    assert whole((tmp_path / "model").resolve()) == url.rpartition("/")[2]
    (tmp_path / "model" / "manifest.json").unlink()
    assert artifact_digest(tmp_path / "model") == version.sha256


def test_publishing_again_writes_nothing(deployment: Deployment, done: list[str]) -> None:
    promote_(deployment, "r1")
    url = publish_(deployment)
    assert done.count("PutObject") == 4
    done.clear()
    assert publish_(deployment) == url
    assert set(done) == {"GetObject", "HeadObject"}


def test_a_rollback_moves_only_the_pointer(deployment: Deployment, done: list[str]) -> None:
    promote_(deployment, "r1")
    first = publish_(deployment)
    promote_(deployment, "r2")
    second = publish_(deployment)
    assert first != second
    rollback(RollbackRequest(deployment=deployment, model=MODEL, by="carol", why="Blind in rain"))
    done.clear()
    assert publish_(deployment) == first
    assert done.count("PutObject") == 1
    assert (pointer(deployment)["sequence"], pointer(deployment)["tag"]) == (3, "runs/r1")


def test_a_model_without_a_champion_is_left_out(deployment: Deployment) -> None:
    promote_(deployment, "r1")
    published = publish(PublishRequest(deployment=deployment, models=["tiny-openvino", MODEL]))
    assert list(published.releases) == [MODEL]


@pytest.mark.parametrize("releases", [None, "/srv/releases"])
def test_without_a_place_to_publish_to_the_key_is_named(deployment: Deployment, releases: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"releases of alambique\.yaml .* write s3://bucket/prefix"):
        publish_(deployment.model_copy(update={"releases": releases}))


def test_a_bucket_that_does_not_exist_is_named(deployment: Deployment) -> None:
    promote_(deployment, "r1")
    with pytest.raises(ConfigurationError, match="s3://nowhere/releases/tiny-onnx/champion"):
        publish_(deployment.model_copy(update={"releases": "s3://nowhere/releases"}))


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
@pytest.mark.parametrize("content", [b"other", None])
def test_an_object_that_was_replaced_is_refused_and_one_that_is_missing_is_put_again(
    deployment: Deployment, name: str, content: bytes | None
) -> None:
    promote_(deployment, "r1")
    url = publish_(deployment)
    before = get(f"{url}/{name}")
    if content:
        put(f"{url}/{name}", content)
        with pytest.raises(IntegrityError, match="somebody replaced it; remove it and publish again"):
            publish_(deployment)
    remove(f"{url}/{name}")
    assert publish_(deployment) == url
    assert get(f"{url}/{name}") == before


def test_large_files_go_in_parts(deployment: Deployment, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LARGE", 5 * 2**20)
    path = deployment.home / "weights.bin"
    path.parent.mkdir()
    path.write_bytes(os.urandom(9 * 2**20))
    place = publishing._Place.at(f"{deployment.releases}/{MODEL}")
    place.create("x/weights.bin", path)
    assert "CompleteMultipartUpload" in done
    assert get(f"{place.url}/x/weights.bin") == path.read_bytes()
    done.clear()
    place.create("x/weights.bin", path)
    assert done == ["HeadObject"]


def test_a_publisher_that_was_overtaken_leaves_the_newer_pointer(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_(deployment, "r1")
    fetch, newer = run_artifacts.fetch_artifact, []

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(run_artifacts, "fetch_artifact", fetch)
        promote_(deployment, "r2")
        newer.append(publish_(deployment))
        fetch(*arguments)

    monkeypatch.setattr(run_artifacts, "fetch_artifact", late)
    assert publish_(deployment) == newer[0]
    assert (pointer(deployment)["sequence"], pointer(deployment)["tag"]) == (2, "runs/r2")


@pytest.mark.slow
def test_of_many_publishers_while_the_ledger_moves_none_moves_the_pointer_back(
    deployment: Deployment, tmp_path: Path
) -> None:
    promote_(deployment, "r1")
    publish_(deployment)
    promote_(deployment, "r2")
    request = tmp_path / "request.json"
    request.write_text(PublishRequest(deployment=deployment, models=[MODEL]).model_dump_json())

    def start(index: int) -> subprocess.Popen[str]:
        files = ["--request", str(request), "--result", str(tmp_path / f"{index}.json")]
        return subprocess.Popen([sys.executable, "-m", "alambique.verbs", "publish", *files], text=True)

    publishers, sequences = [start(index) for index in range(8)], [1]
    while any(publisher.poll() is None for publisher in publishers):
        rollback(RollbackRequest(deployment=deployment, model=MODEL, by="carol"))
        time.sleep(0.5)
        sequences.append(pointer(deployment)["sequence"])
    assert [publisher.returncode for publisher in publishers] == [0] * 8
    assert sequences == sorted(sequences) and len(set(sequences)) > 2
    last = start(8)
    assert last.wait() == 0
    state = Ledger(deployment.origin, MODEL).read()
    published = pointer(deployment)
    assert state and (published["commit"], published["digest"]) == (state.sha, state.champion.digest)
    assert published["sequence"] == len(Ledger(deployment.origin, MODEL).commits()) > sequences[-1]
    newest = f"{deployment.releases}/{MODEL}/{published['manifest']}"
    assert Published(**read_json(tmp_path / "8.json")).releases == {MODEL: newest}


def test_the_pointer_of_another_ledger_is_left_alone(deployment: Deployment, two_runs: str, tmp_path: Path) -> None:
    promote_(deployment, "r1")
    publish_(deployment)
    before = pointer(deployment)
    shutil.copytree(two_runs, tmp_path / "anew.git")
    anew = deployment.model_copy(update={"origin": str(tmp_path / "anew.git")})
    promote(PromoteRequest(deployment=anew, tag="runs/r1", by="bob"))
    with pytest.raises(ConflictError, match="was moved by another ledger"):
        publish_(anew)
    assert pointer(deployment) == before
    put(f"{deployment.releases}/{MODEL}/champion.json", b"{}")
    with pytest.raises(IntegrityError, match="is not what was published there"):
        publish_(deployment)


@pytest.fixture
def project(deployment: Deployment, tmp_path: Path) -> Path:
    """A checkout with an alambique.yaml, after both promotions."""
    for run_id in ("r1", "r2"):
        promote_(deployment, run_id)
    git("clone", "--quiet", deployment.origin, str(tmp_path / "project"))
    (tmp_path / "project" / "alambique.yaml").write_text(deployment.model_dump_json())
    return tmp_path / "project"


def test_a_rollback_by_hand_is_published(deployment: Deployment, project: Path) -> None:
    git("config", "user.name", "Dora", cwd=project)
    command = [sys.executable, "-m", "alambique", "rollback", MODEL, "--why", "Blind in rain"]
    said = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    state = Ledger(deployment.origin, MODEL).read()
    assert state and (state.champion.by, state.champion.why) == ("Dora", "Blind in rain")
    assert state.champion.candidate == "pico-onnx-fp32" == pointer(deployment)["candidate"]
    release = f"{deployment.releases}/{MODEL}/{pointer(deployment)['manifest']}"
    assert said.strip().endswith(f"(pico-onnx-fp32) is champion again, and published at {release}")


def test_a_rollback_that_could_not_be_published_says_what_is_left_to_do(
    deployment: Deployment, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALAMBIQUE_RELEASES", "s3://nowhere/releases")
    with pytest.raises(PermanentError, match=r"is champion again, but devices do not get it yet.*`alambique publish"):
        cli_actions.rollback(project, MODEL, "erin", "")
    state = Ledger(deployment.origin, MODEL).read()
    assert state and (state.champion.candidate, state.champion.by) == ("pico-onnx-fp32", "erin")
    monkeypatch.delenv("ALAMBIQUE_RELEASES")
    lines = cli_actions.publish(project, []).splitlines()
    assert lines == [
        f"{MODEL}: {deployment.releases}/{MODEL}/{pointer(deployment)['manifest']}",
        "tiny-openvino: no champion yet",
    ]


def test_a_card_that_is_not_the_ledgers_reaches_no_release(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_(deployment, "r1")
    state = Ledger(deployment.origin, MODEL).read()
    assert state and len(state.champion.card) == 64
    fetch = run_artifacts.get

    def reversed_classes(origin: str, tag: str, path: Path, target: Path) -> None:
        fetch(origin, tag, path, target)
        card = read_json(target / "card.json")
        write_json(target / "card.json", {**card, "classes": card["classes"][::-1]})

    monkeypatch.setattr(run_artifacts, "get", reversed_classes)
    with pytest.raises(IntegrityError, match="the card of pico-onnx-fp32 at runs/r1 has sha256"):
        publish_(deployment)


def test_a_pointer_is_signed_where_there_is_a_key_and_a_device_checks_it(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_(deployment, "r1")
    publish_(deployment)
    assert "signature" not in pointer(deployment)
    public = signing.create(tmp_path / "releases.key")
    monkeypatch.setenv(signing.VARIABLE, str(tmp_path / "releases.key"))
    publish_(deployment)
    (tmp_path / "device").mkdir()
    shutil.copyfile(public, tmp_path / "device/detector.pub")
    arguments = [f"{deployment.releases}/{MODEL}", str(tmp_path / "device/detector")]
    assert pull.main(arguments) == 0
    put(f"{deployment.releases}/{MODEL}/champion.json", json.dumps({**pointer(deployment), "sequence": 9}).encode())
    assert pull.main(arguments) == 1
