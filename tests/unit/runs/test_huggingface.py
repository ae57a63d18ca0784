from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from alambique.errors import ConfigurationError, DataError
from alambique.runs import huggingface, weight_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "modeling_evil.py", "README.md", "pytorch.bin"):
        (folder / name).write_text(json.dumps({"name": name}))
    save_file({}, folder / "model.safetensors")
    return folder


def test_a_folder_comes_without_code_and_pickles(folder: Path, tmp_path: Path) -> None:
    weight_sources.fetch(str(folder), tmp_path / "taken")
    assert {path.name for path in (tmp_path / "taken").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_a_file_that_stands_for_another_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=f"cannot use {folder}/model.safetensors: it is a Git LFS pointer"):
        weight_sources.fetch(str(folder), tmp_path / "taken")


def test_a_tokenizer_comes_alone(folder: Path, tmp_path: Path) -> None:
    weight_sources.fetch(f"tokenizer:{folder}", tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["tokenizer.json"]


def test_pickles_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"holds no \.safetensors: other weights are pickles"):
        weight_sources.fetch(str(folder), tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no config\.json"):
        weight_sources.fetch(str(tmp_path / "empty"), tmp_path / "taken")
    with pytest.raises(ConfigurationError, match="is relative"):
        huggingface.fetch("tokenizer:some/folder", tmp_path / "taken")


def test_only_a_commit_of_the_hub_never_moves() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert weight_sources.immutable(f"hf://org/name@{commit}")
    assert weight_sources.immutable(f"tokenizer:hf://org/name@{commit}")
    assert not weight_sources.immutable("hf://org/name@main")
    assert not weight_sources.immutable("hf://org/name")
    assert huggingface.pin_revision(f"hf://org/name@{commit}") == f"hf://org/name@{commit}"
    assert huggingface.pin_revision("/some/where") == "/some/where"


def test_folders_are_told_from_files(folder: Path) -> None:
    assert huggingface.is_folder(str(folder))
    assert huggingface.is_folder("hf://org/name")
    assert not huggingface.is_folder(str(folder / "config.json"))
    assert not huggingface.is_folder("yolo26n.pt")
