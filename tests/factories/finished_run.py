"""A run whose stages are all done: a real origin, a real DVC remote, and candidates that real runtimes can load."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from alambique.config.deployment import Deployment
from alambique.evaluation.leaderboard import SCHEMA
from alambique.files import folder_sha256, read_json, sha256, write_json
from alambique.git import git
from alambique.layout import CANDIDATES, REPORT, Candidate, EvaluationTarget
from alambique.messages import (
    Decision,
    Decisions,
    GateRequest,
    RecordRequest,
    Run,
    RunRequest,
    StageResult,
    Version,
)
from alambique.pipeline import dvc_repository
from alambique.tasks.yolo.task import TASKS

NAMES = ("pico-onnx-fp32", "pico-onnx-int8", "pico-openvino-fp32", "pico-openvino-int8")
TEST_SPLIT = "d" * 64
SIZE = 64
PARAMS = {
    "project": "tiny",
    "input_size": SIZE,
    "students": ["pico"],
    "runtimes": ["onnx", "openvino"],
    "int8": ["onnx", "openvino"],
    "networks": {"pico": {}},
    "teachers": ["main"],
    "teacher": {"main": {}},
    "gates": [
        {"kind": "at_least", "metric": "map50_95", "value": 0.2},
        {"kind": "not_worse_than", "metric": "map50_95", "reference": "champion", "margin": 0.01},
    ],
}


def row(subject: str, **columns: Any) -> dict[str, Any]:
    """A row of the leaderboard, a good one unless told otherwise.

    Args:
        columns: of the row, and metrics and figures by class by their own names.
    """
    known = EvaluationTarget.parse(subject)
    metrics = {"map50_95": 0.5, "map50": 0.7, "f1": 0.6, "ece": 0.05, "confidence": 0.8}
    by_class: dict[str, Any] = {"ap": {}, "recall": {}}
    return {
        "subject": subject,
        "kind": known.kind,
        "student": known.student,
        "runtime": known.runtime,
        "precision": known.precision,
        "seed": known.seed,
        "present": True,
        "metrics": {name: columns.pop(name, value) for name, value in metrics.items()},
        "by_class": {name: columns.pop(name, value) for name, value in by_class.items()},
        "parity": None,
        "latency_p50_ms": 5.0,
        "latency_p95_ms": 6.0,
        "latency_p99_ms": 7.0,
        "cold_start_ms": 80.0,
        "peak_memory_mb": 40.0,
        "size_mb": 2.0,
        "parameters": 1000,
        "macs": 2000,
        "data": TEST_SPLIT,
        "digest": "0" * 64,
        "deltas": {},
        "latency_deltas": {},
        **columns,
    }


def absent(runtime: str) -> dict[str, Any]:
    """The row of a champion that does not exist yet."""
    nothing = dict.fromkeys(("map50_95", "latency_p50_ms", "size_mb", "data", "digest"))
    return row(f"champion-{runtime}", present=False, **nothing)


def leaderboard(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "project": "tiny",
        "samples": "images",
        "headline": "map50_95",
        "measures": {name: measure._asdict() for name, measure in TASKS["detect"].measures.items()},
        "by_class": {name: measure._asdict() for name, measure in TASKS["detect"].by_class.items()},
        "objective": "accuracy",
        "data": TEST_SPLIT,
        "classes": ["red", "white"],
        "students": ["pico"],
        "distillation_gain": {"pico": None},
        "gain_parts": {"pico": []},
        "teacher_advantage": {"pico": {"teacher-main": None}},
        "images": 100,
        "benchmark": {"runs": 50},
        "rows": rows,
    }


def write_candidate(folder: Path, name: str) -> dict[str, Any]:
    """A network of one addition, as an artifact of its runtime, with its card."""
    candidate = Candidate.parse(name)
    folder.mkdir(parents=True)
    bias = 1.0 if candidate.precision == "fp32" else 2.0
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.onnx"
        _write_onnx(model, bias)
        if candidate.runtime == "onnx":
            shutil.copy(model, folder)
        else:
            import openvino

            openvino.save_model(openvino.convert_model(model), folder / "model.xml", compress_to_fp16=False)
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    card = {
        **candidate._asdict(),
        "task": "detect",
        "candidate": name,
        "file": "model.onnx" if candidate.runtime == "onnx" else "model.xml",
        "files": files,
        "digest": folder_sha256(folder),
        "classes": ["a", "b", "c"],
        "image_size": SIZE,
        "input": {"name": "images", "shape": [1, 3, SIZE, SIZE], "dtype": "float32"},
        "output": {"name": "output0", "shape": [1, 2, 6], "dtype": "float32"},
        "size_bytes": sum((folder / file).stat().st_size for file in files),
    }
    write_json(folder / "card.json", card)
    return card


def _write_onnx(path: Path, bias: float) -> None:
    """(1, 2, 6) boxes, each number the image's mean plus `bias`."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Add", ["mean", "bias"], ["output0"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 2, 6])],
        [helper.make_tensor("bias", TensorProto.FLOAT, [1, 2, 6], [bias] * 12)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def finish(world: Path, run_id: str = "r1") -> RunRequest:
    """Lay out origin.git, remote/ and a project in `world`, and do what the stages would: outs pushed, lock entries."""
    project, origin = world / "project", world / "origin.git"
    for name in NAMES:
        write_candidate(project / CANDIDATES / name, name)
    rows = [row("teacher-main", digest="e" * 64), absent("onnx"), absent("openvino")]
    for name in NAMES:
        card = read_json(project / CANDIDATES / name / "card.json")
        rows.append(row(name, digest=card["digest"], map50_95=0.6 if name.endswith("fp32") else 0.5))
    write_json(project / REPORT / "leaderboard.json", leaderboard(rows))
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    stages = {f"export_{name.replace('-', '_')}": {"cmd": "true", "outs": [f"candidates/{name}"]} for name in NAMES}
    stages["compare"] = {"cmd": "true", "outs": ["report"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    entries = _commit_outs(project, world)
    (project / "dvc.lock").unlink()
    git("add", "--all", cwd=project)
    git("commit", "--quiet", "--message", "A project", cwd=project)
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git("push", "--quiet", str(origin), "HEAD:refs/heads/main", cwd=project)
    run = Run(
        run_id=run_id,
        revision=git("rev-parse", "HEAD", cwd=project),
        digest="graph",
        sources={"data": {"md5": "1" * 32 + ".dir"}},
        params={},
        lock={},
    )
    results = {
        stage: StageResult(stage=stage, key=f"key-of-{stage}", entry=entry, found="ran")
        for stage, entry in entries.items()
    }
    return RunRequest(deployment=Deployment(origin=str(origin), home=world / "home"), run=run, stages=results)


def _commit_outs(project: Path, world: Path) -> dict[str, Any]:
    from dvc.repo import Repo

    git("init", "--quiet", "--initial-branch=main", cwd=project)
    Repo.init(os.fspath(project)).close()
    remote = f"[core]\n    remote = store\n    analytics = false\n['remote \"store\"']\n    url = {world / 'remote'}\n"
    (project / ".dvc" / "config").write_text(remote)
    with dvc_repository.opened(project) as repo:
        repo.commit(force=True)
        repo.push()
    return dvc_repository.lock_entries(project)


def gate_request(request: RunRequest, versions: list[Version]) -> GateRequest:
    return GateRequest(deployment=request.deployment, run=request.run, stages=request.stages, versions=versions)


def record_request(request: RunRequest, decisions: Decisions) -> RecordRequest:
    return RecordRequest(deployment=request.deployment, run=request.run, stages=request.stages, decisions=decisions)


def judged(run_id: str, *challengers: Version, champions: dict[str, str] | None = None) -> Decisions:
    """What a gate decides that lets all of these pass."""
    decisions = [Decision(version=version, passed=True, checks=[]) for version in challengers]
    return Decisions(run_id=run_id, decisions=decisions, challengers=list(challengers), champions=champions or {})
