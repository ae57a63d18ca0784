from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from factories.given_weights import saved

from alambique.config import Params, parse
from alambique.errors import ConfigurationError, DataError, IntegrityError
from alambique.files import folder_sha256, read_json, sha256, write_json, write_text
from alambique.git import git
from alambique.registry.ledger import Entry, Ledger, State
from alambique.runs import resolve_inputs

TEMPLATE = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())


def params(start: str | None = None, **teacher: Any) -> Params:
    networks = {"pico": {**TEMPLATE["networks"]["pico"], "weights": start}}
    content = {**TEMPLATE, "networks": networks, "teacher": {"main": {**TEMPLATE["teacher"]["main"], **teacher}}}
    return parse({**content, "runtimes": ["onnx"], "int8": ["onnx"]}, "params.yaml")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "given.pt").write_bytes(saved("given weights"))
    return tmp_path / "given.pt"


def test_without_references_every_entry_is_null(tmp_path: Path) -> None:
    resolve_inputs.resolve(tmp_path, params(), None, None)
    nothing = {"uri": None, "sha256": None, "file": None}
    assert read_json(tmp_path / "inputs/teachers/index.json") == {"main": nothing}
    assert read_json(tmp_path / "inputs/students/index.json") == {"pico": nothing}
    assert read_json(tmp_path / "inputs/champions/index.json") == {"onnx": None}


def test_references_become_bytes_beside_an_index(tmp_path: Path, weights: Path) -> None:
    resolve_inputs.resolve(
        tmp_path, params(start=str(weights), weights=str(weights), sha256=sha256(weights)), None, None
    )
    entry = {"uri": str(weights), "sha256": sha256(weights)}
    assert read_json(tmp_path / "inputs/teachers/index.json") == {"main": {**entry, "file": "main.pt"}}
    assert read_json(tmp_path / "inputs/students/index.json") == {"pico": {**entry, "file": "pico.pt"}}
    for path in ("teachers/main.pt", "students/pico.pt"):
        assert (tmp_path / "inputs" / path).read_bytes() == saved("given weights")


def test_other_bytes_than_the_pinned_are_refused_and_leave_nothing(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(IntegrityError, match="pins 0000"):
        resolve_inputs.resolve(tmp_path, params(weights=str(weights), sha256="0" * 64), None, None)
    assert not (tmp_path / "inputs/teachers").exists()


@pytest.mark.parametrize("owner", ["teacher", "student"])
def test_what_is_no_weights_is_named_by_the_path_that_was_given(tmp_path: Path, weights: Path, owner: str) -> None:
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    asked = params(weights=str(weights)) if owner == "teacher" else params(start=str(weights))
    with pytest.raises(DataError, match=f"cannot use {weights}: it is a Git LFS pointer"):
        resolve_inputs.resolve(tmp_path, asked, None, None)
    assert not (tmp_path / f"inputs/{owner}s").exists()


def test_a_replaced_file_is_noticed_and_a_pinned_one_not_fetched_again(tmp_path: Path, weights: Path) -> None:
    pinned = params(weights=str(weights), sha256=sha256(weights))
    resolve_inputs.resolve(tmp_path, pinned, None, None)
    weights.write_bytes(saved("other weights"))
    resolve_inputs.resolve(tmp_path, pinned, None, None)
    assert (tmp_path / "inputs/teachers/main.pt").read_bytes() == saved("given weights")
    resolve_inputs.resolve(tmp_path, params(weights=str(weights)), None, None)
    assert (tmp_path / "inputs/teachers/main.pt").read_bytes() == saved("other weights")


def test_a_damaged_earlier_copy_is_fetched_again(tmp_path: Path, weights: Path) -> None:
    pinned = params(weights=str(weights), sha256=sha256(weights))
    resolve_inputs.resolve(tmp_path, pinned, None, None)
    (tmp_path / "inputs/teachers/main.pt").write_bytes(b"damaged")
    resolve_inputs.resolve(tmp_path, pinned, None, None)
    assert (tmp_path / "inputs/teachers/main.pt").read_bytes() == saved("given weights")


def test_every_teacher_that_is_named_has_its_own_file(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(saved("other weights"))
    sections = {name: {"weights": str(path)} for name, path in (("first", weights), ("second", other), ("idle", other))}
    content = {**TEMPLATE, "teachers": ["second", "first"], "teacher": sections}
    resolve_inputs.resolve(tmp_path, parse(content, "params.yaml"), None, None)
    index = read_json(tmp_path / "inputs/teachers/index.json")
    assert {name: entry["file"] for name, entry in index.items()} == {"first": "first.pt", "second": "second.pt"}
    assert (tmp_path / "inputs/teachers/first.pt").read_bytes() == saved("given weights")
    assert (tmp_path / "inputs/teachers/second.pt").read_bytes() == saved("other weights")


@pytest.fixture
def origin(tmp_path: Path) -> str:
    """A bare repository whose tag runs/r1 holds a candidate and its checkpoint by DVC, and a DVC remote with both."""
    from dvc.repo import Repo

    folder = tmp_path / "recorded"
    candidate = folder / "candidates/pico-onnx-fp32"
    write_text(candidate / "model.onnx", "a network")
    write_json(candidate / "card.json", {"candidate": "pico-onnx-fp32"})
    pruned = folder / "models/pruned/pico"
    write_text(pruned / "weights.pt", "a checkpoint")
    write_json(pruned / "card.json", {"sha256": sha256(pruned / "weights.pt")})
    git("init", "--quiet", "--initial-branch", "main", cwd=folder)
    with Repo.init(str(folder)) as repo, repo.config.edit("repo") as settings:
        settings["core"] = {"remote": "storage"}
        settings["remote"] = {"storage": {"url": str(tmp_path / "remote")}}
    with Repo(str(folder)) as repo:
        repo.add([str(candidate), str(pruned)])
        repo.push()
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "Record", cwd=folder)
    git("tag", "runs/r1", cwd=folder)
    git("clone", "--quiet", "--bare", str(folder), str(tmp_path / "origin.git"))
    return str(tmp_path / "origin.git")


def promote(origin: str, digest: str) -> None:
    entry = Entry(
        model="demo-onnx",
        version="3",
        candidate="pico-onnx-fp32",
        tag="runs/r1",
        digest=digest,
        gate_digest="0" * 64,
        by="a test",
    )
    Ledger(origin, "demo-onnx").move(State(entry), None, "Promote")


def test_the_champion_is_brought_from_the_run_that_the_ledger_names(tmp_path: Path, origin: str) -> None:
    digest = folder_sha256(tmp_path / "recorded/candidates/pico-onnx-fp32", exclude=("card.json",))
    promote(origin, digest)
    project = tmp_path / "project"
    resolve_inputs.resolve(project, params(), origin, None)
    expected = {"model": "demo-onnx", "version": "3", "tag": "runs/r1", "digest": digest}
    assert read_json(project / "inputs/champions/index.json") == {"onnx": expected}
    assert (project / "inputs/champions/onnx/model.onnx").read_text() == "a network"
    assert read_json(project / "inputs/champions/onnx/card.json") == {"candidate": "pico-onnx-fp32"}

    shutil.rmtree(tmp_path / "remote")  # what is here already needs no remote
    resolve_inputs.resolve(project, params(), origin, None)
    assert (project / "inputs/champions/onnx/model.onnx").exists()


def test_a_champion_with_another_digest_than_the_ledger_promises_is_refused(tmp_path: Path, origin: str) -> None:
    promote(origin, "0" * 64)
    with pytest.raises(IntegrityError, match="the ledger of demo-onnx promises 0000"):
        resolve_inputs.resolve(tmp_path / "project", params(), origin, None)
    assert not (tmp_path / "project/inputs/champions").exists()


def test_before_the_first_promotion_there_is_no_champion(tmp_path: Path, origin: str) -> None:
    resolve_inputs.resolve(tmp_path / "project", params(), origin, None)
    assert read_json(tmp_path / "project/inputs/champions/index.json") == {"onnx": None}


SELF = {"source": "fetch", "weights": "champion:onnx"}


def test_the_champions_checkpoint_becomes_the_teacher(tmp_path: Path, origin: str) -> None:
    promote(origin, folder_sha256(tmp_path / "recorded/candidates/pico-onnx-fp32", exclude=("card.json",)))
    project = tmp_path / "project"
    resolve_inputs.resolve(project, params(**SELF), origin, None)
    teacher = read_json(project / "inputs/teachers/index.json")["main"]
    assert teacher["uri"] == "champion:onnx@runs/r1:models/pruned/pico"
    assert teacher["sha256"] == sha256(tmp_path / "recorded/models/pruned/pico/weights.pt")
    assert (project / "inputs/teachers/main.pt").read_text() == "a checkpoint"

    shutil.rmtree(tmp_path / "remote")  # a recorded run does not change
    resolve_inputs.resolve(project, params(**SELF), origin, None)
    assert (project / "inputs/teachers/main.pt").read_text() == "a checkpoint"


@pytest.mark.parametrize("with_origin", [True, False])
def test_without_a_champion_self_distillation_says_what_to_do(tmp_path: Path, origin: str, with_origin: bool) -> None:
    with pytest.raises(
        ConfigurationError, match=r"champion of demo-onnx, but there is none yet; run once with another"
    ):
        resolve_inputs.resolve(tmp_path / "project", params(**SELF), origin if with_origin else None, None)


def test_another_checkpoint_than_was_recorded_is_no_teacher(tmp_path: Path, origin: str) -> None:
    promote(origin, "0" * 64)
    content = b"a checkpoint"
    stored = [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.read_bytes() == content]
    stored[0].chmod(0o644)
    stored[0].write_bytes(b"another one!")
    with pytest.raises(IntegrityError, match=r"models/pruned/pico: its object .* has other bytes"):
        resolve_inputs.resolve(tmp_path / "project", params(**SELF), origin, None)
    assert not (tmp_path / "project/inputs/teachers").exists()
