from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories.finished_run import judged
from mlflow import MlflowClient

from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError, ConflictError, IntegrityError, PermanentError, TransientError
from alambique.files import sha256, write_json
from alambique.git import git
from alambique.messages import Decisions, Promoted, PromoteRequest, RollbackRequest, Version
from alambique.registry import aliases
from alambique.registry.ledger import Entry, Ledger, State
from alambique.registry.promotion import promote, repair, rollback

MODEL, NAME = "tiny-onnx", "pico-onnx-int8"


@pytest.fixture
def deployment(origin: str, tracking_uri: str, tmp_path: Path) -> Deployment:
    return Deployment(origin=origin, home=tmp_path / "home", tracking_uri=tracking_uri)


def registered(client: MlflowClient, digest: str) -> Version:
    """A version in MLflow, as `register` leaves it."""
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
    made = client.create_model_version(MODEL, "s3://bucket/model", tags={"alambique.digest": digest})
    return Version(candidate=NAME, model=MODEL, version=str(made.version), sha256=digest)


def recorded(deployment: Deployment, decisions: Decisions, outs: tuple[str, ...] = (f"candidates/{NAME}",)) -> str:
    """A recorded run at its tag in origin; returns the sha256 of its decisions.json."""
    folder = deployment.home / decisions.run_id
    folder.mkdir(parents=True)
    git("init", "--quiet", cwd=folder)
    write_json(folder / "decisions.json", decisions.model_dump(mode="json"))
    stages = {"export": {"cmd": "true", "outs": [{"path": out, "md5": "1" * 32} for out in outs]}}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "Record", cwd=folder)
    git("push", "--quiet", deployment.origin, f"HEAD:refs/tags/runs/{decisions.run_id}", cwd=folder)
    return sha256(folder / "decisions.json")


def promote_(deployment: Deployment, run_id: str, by: str = "ann") -> Promoted:
    return promote(PromoteRequest(deployment=deployment, tag=f"runs/{run_id}", by=by))


def audit(client: MlflowClient, version: Version) -> dict[str, str]:
    """What MLflow tells of the version's promotion."""
    prefix = "alambique.champion."
    tags = client.get_model_version(MODEL, version.version).tags
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}


def ledger_log(deployment: Deployment) -> list[tuple[str, str]]:
    """Subject and reason of every change of the ledger, newest first."""
    ref = Ledger(deployment.origin, MODEL).ref
    commits = git("log", "--format=%s%x1f%b%x1e", ref, cwd=Path(deployment.origin)).split("\x1e")
    changes = [commit.partition("\x1f") for commit in commits if commit]
    return [(subject.strip(), reason.strip()) for subject, _, reason in changes]


def shown(client: MlflowClient) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(MODEL).aliases.items()}


@pytest.fixture
def two_champions(deployment: Deployment, client: MlflowClient) -> tuple[Version, Version]:
    """The first was promoted over nobody, the second over the first."""
    first, second = (registered(client, digit * 64) for digit in "ab")
    recorded(deployment, judged("r1", first))
    promote_(deployment, "r1")
    recorded(deployment, judged("r2", second, champions={MODEL: first.sha256}))
    client.set_registered_model_alias(MODEL, "challenger", second.version)
    promote_(deployment, "r2", by="bob")
    return first, second


def test_a_challenger_becomes_champion(deployment: Deployment, client: MlflowClient) -> None:
    version = registered(client, "a" * 64)
    gate_digest = recorded(deployment, judged("r1", version))
    client.set_registered_model_alias(MODEL, "challenger", version.version)
    assert promote_(deployment, "r1").champions == [version]
    state = Ledger(deployment.origin, MODEL).read()
    assert state and state.previous is None
    champion = state.champion
    assert (champion.version, champion.digest, champion.tag) == (version.version, "a" * 64, "runs/r1")
    assert (champion.candidate, champion.gate_digest, champion.by) == (NAME, gate_digest, "ann")
    assert shown(client) == {"champion": version.version}


def test_the_champion_before_stays_as_previous(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version]
) -> None:
    first, second = two_champions
    assert shown(client) == {"champion": second.version, "previous": first.version}
    changes = ledger_log(deployment)
    assert changes[0][0] == f"Promote {MODEL} {second.version} ({NAME} of runs/r2), decided by bob"
    assert len(changes) == 2


def test_promoting_the_champion_again_changes_nothing(
    deployment: Deployment, two_champions: tuple[Version, Version]
) -> None:
    before = Ledger(deployment.origin, MODEL).read()
    assert promote_(deployment, "r2", by="carol").champions == [two_champions[1]]
    assert Ledger(deployment.origin, MODEL).read() == before


def test_a_run_judged_against_an_earlier_champion_is_refused(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version]
) -> None:
    first, second = two_champions
    late = registered(client, "c" * 64)
    recorded(deployment, judged("r3", late, champions={MODEL: first.sha256}))
    recorded(deployment, judged("r4", late))
    for run_id in ("r3", "r4", "r1"):
        with pytest.raises(ConflictError, match="start another run"):
            promote_(deployment, run_id)
    assert shown(client)["champion"] == second.version


def test_a_version_registered_anew_under_the_same_number_is_refused(
    deployment: Deployment, client: MlflowClient
) -> None:
    version = registered(client, "a" * 64)
    recorded(deployment, judged("r1", version))
    client.set_model_version_tag(MODEL, version.version, "alambique.digest", "b" * 64)
    with pytest.raises(IntegrityError, match="the gate judged aaaaaaaaaaaa"):
        promote_(deployment, "r1")
    client.delete_model_version(MODEL, version.version)
    with pytest.raises(IntegrityError, match="digest none"):
        promote_(deployment, "r1")
    assert Ledger(deployment.origin, MODEL).read() is None


def test_a_challenger_that_no_gate_let_pass_is_refused(deployment: Deployment, client: MlflowClient) -> None:
    decisions = judged("r1", registered(client, "a" * 64))
    failed = [decision.model_copy(update={"passed": False}) for decision in decisions.decisions]
    recorded(deployment, decisions.model_copy(update={"decisions": failed}))
    with pytest.raises(IntegrityError, match="no gate let it pass"):
        promote_(deployment, "r1")


def test_a_candidate_that_could_not_be_had_back_is_refused(deployment: Deployment, client: MlflowClient) -> None:
    recorded(deployment, judged("r1", registered(client, "a" * 64)), outs=("report",))
    with pytest.raises(IntegrityError, match=r"its dvc\.lock lacks it"):
        promote_(deployment, "r1")


def test_a_run_without_a_challenger_promotes_nobody(deployment: Deployment) -> None:
    recorded(deployment, judged("r1"))
    assert promote_(deployment, "r1").champions == []


def test_an_unknown_tag_is_named(deployment: Deployment) -> None:
    recorded(deployment, judged("r1"))
    with pytest.raises(ConfigurationError, match="no tag runs/r9"):
        promote_(deployment, "r9")


def test_of_many_runs_promoted_at_once_one_wins_and_mlflow_shows_it(
    deployment: Deployment, client: MlflowClient
) -> None:
    versions = [registered(client, f"{index:02}" * 32) for index in range(32)]
    for index, version in enumerate(versions):
        recorded(deployment, judged(f"r{index}", version))

    def attempt(index: int) -> Version | None:
        try:
            (champion,) = promote_(deployment, f"r{index}").champions
        except ConflictError:
            return None
        return champion

    with ThreadPoolExecutor(32) as pool:
        (winner,) = [version for version in pool.map(attempt, range(32)) if version]
    assert len(ledger_log(deployment)) == 1
    assert shown(client) == {"champion": winner.version}
    assert [version for version in versions if audit(client, version)] == [winner]


def test_the_judgement_that_was_approved_must_be_the_one_that_is_there(
    deployment: Deployment, client: MlflowClient
) -> None:
    judgement = recorded(deployment, judged("r1", registered(client, "a" * 64)))
    request = PromoteRequest(deployment=deployment, tag="runs/r1", by="ann", judgement="c" * 64)
    with pytest.raises(ConflictError, match="cccccccccccc was approved"):
        promote(request)
    assert Ledger(deployment.origin, MODEL).read() is None
    assert promote(request.model_copy(update={"judgement": judgement})).champions


def test_ledger_and_mlflow_tell_who_did_what_when_and_why(deployment: Deployment, client: MlflowClient) -> None:
    first, second = (registered(client, digit * 64) for digit in "ab")
    gates = [recorded(deployment, judged("r1", first))]
    gates.append(recorded(deployment, judged("r2", second, champions={MODEL: first.sha256})))
    promote_(deployment, "r1")
    why = "Fewer misses at night,\n# says the field"
    promote(PromoteRequest(deployment=deployment, tag="runs/r2", by="bob", why=why))
    told = audit(client, second)
    at = datetime.fromisoformat(told.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    assert told == {"action": "promoted", "by": "bob", "why": why, "gate_digest": gates[1]}
    rollback(RollbackRequest(deployment=deployment, model=MODEL, by="carol", why="Blind in rain"))
    back, left = audit(client, first), audit(client, second)
    assert back.pop("at") == left.pop("at") >= at.isoformat()
    assert back == {"action": "restored", "by": "carol", "why": "Blind in rain", "gate_digest": gates[0]}
    assert left == {"action": "rolled back", "by": "carol", "why": "Blind in rain", "gate_digest": gates[1]}
    changes = ledger_log(deployment)
    assert [reason for _, reason in changes] == ["Blind in rain", why, ""]
    assert [subject.split(maxsplit=1)[0] for subject, _ in changes] == ["Roll", "Promote", "Promote"]


def test_rollback_exchanges_champion_and_previous(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version]
) -> None:
    first, second = two_champions
    request = RollbackRequest(deployment=deployment, model=MODEL, by="carol")
    assert rollback(request).champions == [first]
    assert shown(client) == {"champion": first.version, "previous": second.version}
    state = Ledger(deployment.origin, MODEL).read()
    assert state and (state.champion.by, state.champion.tag) == ("carol", "runs/r1")
    assert "Roll back to" in ledger_log(deployment)[0][0]
    promote_(deployment, "r2")
    assert shown(client) == {"champion": second.version, "previous": first.version}


def test_a_second_rollback_brings_back_what_the_first_took_away(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version]
) -> None:
    first, second = two_champions
    for _ in range(2):
        rollback(RollbackRequest(deployment=deployment, model=MODEL, by="carol"))
    state = Ledger(deployment.origin, MODEL).read()
    assert state and state.previous
    assert (state.champion.digest, state.previous.digest) == (second.sha256, first.sha256)
    assert shown(client) == {"champion": second.version, "previous": first.version}
    assert [audit(client, version)["action"] for version in two_champions] == ["rolled back", "restored"]


def test_without_a_previous_champion_there_is_no_rollback(deployment: Deployment, client: MlflowClient) -> None:
    request = RollbackRequest(deployment=deployment, model=MODEL, by="carol")
    with pytest.raises(ConfigurationError, match="no previous champion"):
        rollback(request)
    recorded(deployment, judged("r1", registered(client, "a" * 64)))
    promote_(deployment, "r1")
    with pytest.raises(ConfigurationError, match="no previous champion"):
        rollback(request)


@pytest.mark.parametrize("heal", ["promote", "repair"])
def test_a_promotion_that_is_killed_after_the_ledger_moved_is_mended(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version], tmp_path: Path, heal: str
) -> None:
    _, second = two_champions
    third = registered(client, "c" * 64)
    recorded(deployment, judged("r3", third, champions={MODEL: second.sha256}))
    hook, victim = Path(deployment.origin) / "hooks" / "post-receive", tmp_path / "pid"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nkill -9 $(cat {victim})\n")
    hook.chmod(0o755)
    request = PromoteRequest(deployment=deployment, tag="runs/r3", by="ann", why="Better")
    (tmp_path / "request.json").write_text(request.model_dump_json())
    files = ["--request", str(tmp_path / "request.json"), "--result", str(tmp_path / "result.json")]
    with subprocess.Popen([sys.executable, "-m", "alambique.verbs", "promote", *files]) as process:
        victim.write_text(str(process.pid))
        assert process.wait() == -9
    hook.unlink()
    state = Ledger(deployment.origin, MODEL).read()
    assert state and state.champion.version == third.version
    assert shown(client)["champion"] == second.version
    if heal == "promote":
        promote_(deployment, "r3")
    else:
        repair(deployment, MODEL)
    assert shown(client) == {"champion": third.version, "previous": second.version}
    assert audit(client, third) == {
        "action": "promoted",
        "by": "ann",
        "why": "Better",
        "at": str(state.at),
        "gate_digest": state.champion.gate_digest,
    }


def test_repair_undoes_what_somebody_did_to_the_aliases(
    deployment: Deployment, client: MlflowClient, two_champions: tuple[Version, Version]
) -> None:
    first, second = two_champions
    client.set_registered_model_alias(MODEL, "champion", first.version)
    client.delete_registered_model_alias(MODEL, "previous")
    repair(deployment, MODEL)
    assert shown(client) == {"champion": second.version, "previous": first.version}
    assert repair(deployment, "tiny-openvino") is None


def test_a_repair_that_is_overtaken_leaves_mlflow_with_the_newest(
    deployment: Deployment,
    client: MlflowClient,
    two_champions: tuple[Version, Version],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = two_champions
    sync_aliases = aliases.sync_aliases

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(aliases, "sync_aliases", sync_aliases)
        rollback(RollbackRequest(deployment=deployment, model=MODEL, by="carol"))
        assert shown(client)["champion"] == first.version
        sync_aliases(*arguments)  # what was read before that rollback
        assert shown(client)["champion"] == second.version

    monkeypatch.setattr(aliases, "sync_aliases", late)
    state = repair(deployment, MODEL)
    assert state == Ledger(deployment.origin, MODEL).read()
    assert shown(client) == {"champion": first.version, "previous": second.version}


def test_an_interrupted_rollback_is_not_retried_by_a_machine(
    deployment: Deployment, two_champions: tuple[Version, Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    offline = deployment.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(PermanentError, match="before trying again") as raised:
        rollback(RollbackRequest(deployment=offline, model=MODEL, by="carol"))
    assert not isinstance(raised.value, TransientError)
    state = Ledger(deployment.origin, MODEL).read()
    assert state and state.champion.version == two_champions[0].version


def test_a_champion_from_before_mlflow_does_not_stand_in_the_way(deployment: Deployment, client: MlflowClient) -> None:
    old = Version(candidate=NAME, model=MODEL, version="a" * 12, sha256="a" * 64)
    recorded(deployment, judged("r1", old))
    promote(PromoteRequest(deployment=deployment.model_copy(update={"tracking_uri": None}), tag="runs/r1", by="ann"))
    new = registered(client, "b" * 64)
    recorded(deployment, judged("r2", new, champions={MODEL: old.sha256}))
    promote_(deployment, "r2")
    assert shown(client) == {"champion": new.version}


def test_a_reason_that_mlflow_cannot_hold_is_cut_there_and_whole_in_the_ledger(
    deployment: Deployment, client: MlflowClient
) -> None:
    first, second = (registered(client, digit * 64) for digit in "ab")
    ledger = Ledger(deployment.origin, MODEL)
    said = {"gate_digest": "9" * 64, "by": "ann", "why": "x" * 100_001, "tag": "runs/r0", "candidate": NAME}
    ledger.move(State(Entry(model=MODEL, version=first.version, digest=first.sha256, **said)), None, "one")
    recorded(deployment, judged("r2", second, champions={MODEL: first.sha256}))
    promote_(deployment, "r2")
    assert shown(client) == {"champion": second.version, "previous": first.version}
    assert len(audit(client, first)["why"]) == aliases.LONGEST_TAG


def test_what_mlflow_refuses_to_show_stops_no_promotion(
    deployment: Deployment, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = registered(client, "a" * 64)
    recorded(deployment, judged("r1", version))
    monkeypatch.setattr(aliases, "shown", lambda _: "x" * 200_000)
    promote_(deployment, "r1")
    state = Ledger(deployment.origin, MODEL).read()
    assert state and state.champion.version == version.version
    assert "MLflow does not show the champion" in caplog.text
