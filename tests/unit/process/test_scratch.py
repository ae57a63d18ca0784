from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from alambique.process.scratch import scratch


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
