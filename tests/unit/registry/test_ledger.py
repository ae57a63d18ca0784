from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alambique.errors import AlambiqueError, ConflictError, IntegrityError
from alambique.files import read_json, write_json
from alambique.git import git
from alambique.registry.ledger import Entry, Ledger, State


def entry(version: str, by: str = "ann") -> Entry:
    return Entry(
        model="tiny-onnx",
        version=version,
        candidate="pico-onnx-int8",
        tag=f"runs/{version}",
        digest=version * 64,
        gate_digest="9" * 64,
        by=by,
    )


@pytest.fixture
def ledger(origin: str) -> Ledger:
    return Ledger(origin, "tiny-onnx")


def test_there_is_no_state_before_the_first_promotion(ledger: Ledger) -> None:
    assert ledger.read() is None
    assert ledger.commits() == []


def test_a_move_is_what_everybody_reads_next(ledger: Ledger) -> None:
    first = ledger.move(State(entry("1")), None, "one")
    second = ledger.move(State(entry("2"), previous=entry("1")), first.sha, "two")
    assert ledger.read() == second
    assert second.previous == entry("1")
    assert Ledger(ledger.origin, "tiny-openvino").read() is None


def test_a_stale_reader_cannot_move(ledger: Ledger) -> None:
    first = ledger.move(State(entry("1")), None, "one")
    ledger.move(State(entry("2")), first.sha, "two")
    for expected in (first.sha, None):
        with pytest.raises(ConflictError, match="moved by somebody else"):
            ledger.move(State(entry("3")), expected, "three")
    state = ledger.read()
    assert state and state.champion.version == "2"


def test_the_refs_history_says_what_was_done(ledger: Ledger) -> None:
    first = ledger.move(State(entry("1")), None, "Promote 1, decided by ann")
    second = ledger.move(State(entry("2")), first.sha, "Promote 2, decided by bob")
    messages = git("log", "--reverse", "--format=%s", ledger.ref, cwd=Path(ledger.origin)).splitlines()
    assert messages == ["Promote 1, decided by ann", "Promote 2, decided by bob"]
    assert ledger.commits() == [first.sha, second.sha]


@pytest.mark.parametrize("exists", [False, True])
def test_of_many_promoters_at_once_one_wins(ledger: Ledger, exists: bool) -> None:
    expected = ledger.move(State(entry("0")), None, "zero").sha if exists else None

    def attempt(index: int) -> State | None:
        try:
            return ledger.move(State(entry("7", by=f"promoter {index}")), expected, f"by {index}")
        except ConflictError:
            return None

    with ThreadPoolExecutor(12) as pool:
        winners = [state for state in pool.map(attempt, range(12)) if state]
    assert winners == [ledger.read()]
    assert len(ledger.commits()) == 1 + exists


def test_an_unreachable_origin_is_no_conflict(tmp_path: Path) -> None:
    with pytest.raises(AlambiqueError) as raised:
        Ledger(str(tmp_path / "nowhere.git"), "tiny-onnx").read()
    assert not isinstance(raised.value, ConflictError)


def test_a_push_refused_for_other_reasons_is_no_conflict(ledger: Ledger) -> None:
    hook = Path(ledger.origin) / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho only on weekdays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(AlambiqueError, match="only on weekdays") as raised:
        ledger.move(State(entry("1")), None, "one")
    assert not isinstance(raised.value, ConflictError)


def test_an_entry_from_before_reasons_were_kept_is_read(ledger: Ledger, tmp_path: Path) -> None:
    state = ledger.move(State(entry("1")), None, "one")
    git("init", "--quiet", cwd=tmp_path)
    git("fetch", "--quiet", ledger.origin, ledger.ref, cwd=tmp_path)
    git("checkout", "--quiet", "FETCH_HEAD", cwd=tmp_path)
    content = read_json(tmp_path / "ledger.json")
    for field in ("why", "deed"):
        del content["champion"][field]
    write_json(tmp_path / "ledger.json", content)
    git("commit", "--quiet", "--all", "--message", "Promote 1, as it was written before", cwd=tmp_path)
    git("push", "--quiet", ledger.origin, f"HEAD:{ledger.ref}", cwd=tmp_path)
    old = ledger.read()
    assert old and old.champion == state.champion


def test_the_action_keeps_its_name_in_the_file() -> None:
    restored = entry("1").model_copy(update={"action": "restored"})
    content = restored.model_dump(by_alias=True)
    assert content["deed"] == "restored" and "action" not in content
    assert Entry.model_validate(content) == restored


def test_the_ledger_is_a_ref_of_its_own(ledger: Ledger) -> None:
    ledger.move(State(entry("1")), None, "one")
    refs = git("for-each-ref", "--format=%(refname)", cwd=Path(ledger.origin)).splitlines()
    assert refs == ["refs/alambique/tiny-onnx"]


def test_reading_it_needs_no_ml() -> None:
    code = "import sys, alambique.registry.ledger; print({'mlflow', 'dvc', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content | {"schema": 2},
        lambda content: {name: content[name] for name in content if name != "schema"},
        lambda content: content | {"champion": content["champion"] | {"colour": "red"}},
        lambda content: content | {"champion": None},
        lambda content: [content],
    ],
)
def test_a_ledger_of_another_version_is_refused_by_name(ledger: Ledger, tmp_path: Path, change: Any) -> None:
    ledger.move(State(entry("1")), None, "one")
    git("clone", "--quiet", "--no-checkout", ledger.origin, str(tmp_path / "clone"))
    git("fetch", "--quiet", "origin", ledger.ref, cwd=tmp_path / "clone")
    git("checkout", "--quiet", "FETCH_HEAD", cwd=tmp_path / "clone")
    write_json(tmp_path / "clone/ledger.json", change(read_json(tmp_path / "clone/ledger.json")))
    git("commit", "--quiet", "--all", "--message", "edit", cwd=tmp_path / "clone")
    git("push", "--quiet", "origin", f"HEAD:{ledger.ref}", cwd=tmp_path / "clone")
    with pytest.raises(IntegrityError, match=r"the ledger refs/alambique/tiny-onnx of .* cannot be read"):
        ledger.read()


def test_a_hooks_refusal_is_not_taken_for_a_race(ledger: Ledger) -> None:
    hook = Path(ledger.origin) / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'the freeze already exists' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(AlambiqueError, match="freeze") as refused:
        ledger.move(State(entry("1")), None, "one")
    assert not isinstance(refused.value, ConflictError)
