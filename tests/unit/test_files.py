from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from alambique import files
from alambique.files import scratch


def test_a_file_replaces_another_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "old")
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_text(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_is_created_once_and_the_first_stays(tmp_path: Path) -> None:
    files.create_bytes(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        files.create_bytes(tmp_path / "a", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"first")]


def test_json_is_equal_for_equal_content_and_has_no_word_for_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a", {"b": float("nan"), "a": [float("inf"), 1.5]})
    files.write_json(tmp_path / "b", {"a": [float("-inf"), 1.5], "b": None})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert files.read_json(tmp_path / "a") == {"a": [None, 1.5], "b": None}


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    with files.fresh_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("whole")
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="half"), files.fresh_folder(tmp_path / "out") as folder:
        (folder / "b").write_text("half")
        raise ValueError("half")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/a"]


def test_what_a_killed_process_left_beside_a_folder_goes_with_the_next_try(tmp_path: Path) -> None:
    (tmp_path / ".out.unfinished-1").mkdir()
    (tmp_path / ".out2.unfinished-1").mkdir()
    with files.fresh_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out2.unfinished-1", "out"]


def test_a_folder_digest_sees_names_and_contents_but_not_what_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "card.json").write_text("{}")
    digest = files.folder_sha256(tmp_path, exclude=("card.json",))
    (tmp_path / "card.json").write_text("{ }")
    assert files.folder_sha256(tmp_path, exclude=("card.json",)) == digest
    assert files.folder_sha256(tmp_path) != digest
    (tmp_path / "a").rename(tmp_path / "b")
    assert files.folder_sha256(tmp_path, exclude=("card.json",)) != digest


def test_a_folder_is_removed_with_its_block_also_when_that_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch(tmp_path, "distill@pico") as folder:
        (folder / "weights.pt").write_text("x")
        raise RuntimeError
    assert not folder.exists()
    assert folder.name.startswith("distill-pico-")


def test_the_folder_of_a_process_at_work_is_left_alone(tmp_path: Path) -> None:
    with scratch(tmp_path, "one") as mine, scratch(tmp_path, "two") as other:
        assert mine.exists()
        assert mine != other


def hold(root: Path, said: Connection) -> None:
    with scratch(root, "victim") as folder:
        (folder / "weights.pt").write_text("x")
        said.send(folder)
        signal.pause()


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    victim = context.Process(target=hold, args=(tmp_path, there))
    victim.start()
    folder = here.recv()
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert folder.exists()
    with scratch(tmp_path, "next"):
        assert not folder.exists()


def test_a_full_disk_is_named_by_the_file_that_found_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/a'"):
        files.write_text(tmp_path / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_is_writing_stays(tmp_path: Path) -> None:
    with files.fresh_folder(tmp_path / "out") as first:
        (first / "a").write_text("first")
        code = "import sys; from pathlib import Path; from alambique.files import fresh_folder\n"
        code += "with fresh_folder(Path(sys.argv[1])) as folder: (folder / 'a').write_text('second')"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True)
        assert (first / "a").read_text() == "first"
        assert (tmp_path / "out/a").read_text() == "second"
    assert (tmp_path / "out/a").read_text() == "first"


def test_a_file_that_was_not_finished_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(files.os, "fsync", lambda _: seen.extend(path.name for path in tmp_path.iterdir()))
    files.write_text(tmp_path / ("a" * 250), "x")
    files.write_text(tmp_path / ("é" * 125), "x")
    name = seen[0]
    assert name.startswith(".aaa") and name.endswith(files.UNFINISHED)
