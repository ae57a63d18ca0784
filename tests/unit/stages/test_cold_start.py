from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from factories import checkpoints

from alambique.errors import TransientError
from alambique.process.environment import prepare
from alambique.process.timing import pinned
from alambique.stages import cold_start
from alambique.stages.cold_start import Start

prepare()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    return checkpoints.candidate(
        checkpoints.project(tmp_path_factory.mktemp("cold") / "project", scenes), "pico-onnx-fp32"
    )


def test_loading_takes_time_and_memory(artifact: Path) -> None:
    start = cold_start.measure("detect", artifact, threads=1)
    size = (artifact / "model.onnx").stat().st_size / 1e6
    assert 1 < start.milliseconds < 100_000
    assert start.megabytes is not None and size < start.megabytes < 500


def test_a_start_that_fails_says_why(artifact: Path, tmp_path: Path) -> None:
    shutil.copytree(artifact, tmp_path / "broken")
    (tmp_path / "broken/model.onnx").write_bytes(b"no graph")
    with pytest.raises(TransientError, match=r"IntegrityError.*model\.onnx"):
        cold_start.measure("detect", tmp_path / "broken", threads=1)


def test_figures_are_medians_and_unknown_where_the_platform_is_silent() -> None:
    starts = [Start(10.0, 5.0), Start(90.0, 6.0), Start(20.0, 7.0)]
    assert cold_start.summarize(starts) == {"cold_start_ms": 20.0, "peak_memory_mb": 6.0}
    assert cold_start.summarize([Start(10.0, None)]) == {"cold_start_ms": 10.0, "peak_memory_mb": None}


def test_cores_are_given_back_whatever_happens() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), pinned(1) as cores:
        assert cores == [max(before)]
        assert os.sched_getaffinity(0) == set(cores)
        _ = 1 / 0
    assert os.sched_getaffinity(0) == before


def test_more_threads_than_cores_have_all_of_them() -> None:
    with pinned(10_000) as cores:
        assert set(cores or ()) == os.sched_getaffinity(0)
