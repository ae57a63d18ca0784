"""What the stand-in for the ML interpreter does here: every verb's answer, and a line in `calls` for each call.

Stages "make" outs whose hash is their path. The branch `nothing-passes` has no challenger, and the branch
`another-pipeline` another graph. Promoting the tag `DataError` raises that error, once; so for every error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alambique import errors, pipeline
from alambique.messages import Decision, Decisions, Message, Promoted, Recorded, Registered, Run, StageResult, Version

VERSION = Version(candidate="pico-onnx-int8", model="cells-onnx", version="1", sha256="0" * 64)


def snapshot(root: Path, request: dict[str, Any]) -> Run:
    graph = pipeline.read(root)
    lock = root / "lock.json"
    return Run(
        run_id=request["run_id"],
        revision="0" * 40,
        digest="0" * 64 if request["deployment"]["branch"] == "another-pipeline" else request["digest"],
        sources={source: {"md5": source} for source in graph.sources},
        params={stage: {} for stage in graph.stages},
        lock=json.loads(lock.read_text()) if lock.exists() else {},
    )


def run_stage(root: Path, request: dict[str, Any]) -> StageResult:
    stage = pipeline.read(root).stages[request["stage"]]
    deps, outs = ([{"path": path, "md5": path} for path in paths] for paths in (stage.deps, stage.outs))
    return StageResult(stage=stage.name, key="0", entry={"cmd": stage.cmd, "deps": deps, "outs": outs}, found="ran")


def register(root: Path, request: dict[str, Any]) -> Registered:
    return Registered(versions=[VERSION])


def gate(root: Path, request: dict[str, Any]) -> Decisions:
    passed = request["deployment"]["branch"] != "nothing-passes"
    versions = Registered(versions=request["versions"]).versions
    decisions = [Decision(version=version, passed=passed, checks=[]) for version in versions]
    return Decisions(run_id=request["run"]["run_id"], decisions=decisions, challengers=versions if passed else [])


def record(root: Path, request: dict[str, Any]) -> Recorded:
    entries = {name: result["entry"] for name, result in request["stages"].items()}
    (root / "lock.json").write_text(json.dumps(entries))
    return Recorded(tag=f"runs/{request['run']['run_id']}", revision="1" * 40, branch_moved=True)


def promote(root: Path, request: dict[str, Any]) -> Promoted:
    kind, raised = getattr(errors, request["tag"], None), root / request["tag"].replace("/", "-")
    if kind and not raised.exists():
        raised.touch()
        raise kind("on purpose")
    return Promoted(champions=[VERSION])


def rollback(root: Path, request: dict[str, Any]) -> Promoted:
    return Promoted(champions=[VERSION])


VERBS: dict[str, Callable[[Path, dict[str, Any]], Message]] = {
    "snapshot": snapshot,
    "run-stage": run_stage,
    "register": register,
    "gate": gate,
    "record": record,
    "promote": promote,
    "rollback": rollback,
}


def main(verb: str, request: Path, result: Path) -> None:
    content = json.loads(request.read_text())
    root = Path(content["deployment"]["home"])
    about = {key: content.get(key) for key in ("stage", "tag", "model", "by")}
    with (root / "calls").open("a") as calls:
        calls.write(json.dumps({"verb": verb, "branch": content["deployment"]["branch"], **about}) + "\n")
    try:
        result.write_text(VERBS[verb](root, content).model_dump_json())
    except errors.AlambiqueError as error:
        errors.write_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[3], Path(sys.argv[5]), Path(sys.argv[7]))
