from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from factories import checkpoints

from alambique.errors import IntegrityError
from alambique.files import read_json
from alambique.process.environment import prepare
from alambique.stages import benchmark

prepare()

NAMES = [f"pico-{runtime}-{precision}" for runtime in ("onnx", "openvino") for precision in ("fp32", "int8")]


@pytest.fixture
def project(tmp_path: Path, exported: Path) -> Path:
    shutil.copytree(exported, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with four candidates. Who gets timed does not hang on precision: INT8 is a copy of FP32 here."""
    root = checkpoints.project(tmp_path_factory.mktemp("benchmark") / "project", scenes)
    for runtime in ("onnx", "openvino"):
        shutil.copytree(checkpoints.candidate(root, f"pico-{runtime}-fp32"), root / f"candidates/pico-{runtime}-int8")
    return root


def test_every_candidate_is_timed_under_the_configured_conditions(project: Path) -> None:
    before = os.sched_getaffinity(0)
    benchmark.run(project)
    result = read_json(project / "metrics/benchmark.json")
    assert sorted(result["latencies"]) == sorted(NAMES)
    assert (result["threads"], result["runs"], result["device"], result["input_size"]) == (
        1,
        3,
        "cpu",
        checkpoints.SIZE,
    )
    assert result["cpu"]
    for latency in result["latencies"].values():
        assert latency["n"] == len(latency["times_ms"]) == 3
        assert 0 < latency["p50_ms"] <= latency["p95_ms"] <= latency["p99_ms"] <= max(latency["times_ms"])
        assert latency["cold_start_ms"] > latency["p50_ms"]
        assert 1 < latency["peak_memory_mb"] < 1000
    assert len(result["cores"]) == 1
    assert set(result["cores"]) <= before == os.sched_getaffinity(0)


def test_a_champion_is_timed_beside_them(project: Path) -> None:
    shutil.copytree(project / "candidates/pico-onnx-fp32", project / "inputs/champions/onnx")
    benchmark.run(project)
    latencies = read_json(project / "metrics/benchmark.json")["latencies"]
    assert "champion-onnx" in latencies
    assert "champion-openvino" not in latencies


def test_a_missing_candidate_is_refused_by_name(project: Path) -> None:
    shutil.rmtree(project / "candidates/pico-openvino-int8")
    with pytest.raises(IntegrityError, match="pico-openvino-int8"):
        benchmark.run(project)
