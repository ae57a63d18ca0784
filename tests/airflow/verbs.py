"""What the stand-in for the ML interpreter does here: every verb's answer, and a line in `calls` for each call.

Stages "make" outs whose hash is their path. The dataset is the folder `dataset`, who is champion stands in the file
`champion`, and runs are recorded in a real git repository. The branch `nothing-passes` has no challenger, and
`another-pipeline` another graph. Promoting the tag `DataError` raises that error, once; so for every error. Images
whose names begin with `drifted` have drifted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alambique import errors
from alambique.git import git
from alambique.messages import (
    Arrivals,
    Decision,
    Decisions,
    Drift,
    Ingested,
    Message,
    Promoted,
    Proposal,
    Published,
    Recorded,
    Registered,
    Run,
    StageResult,
    Unchanged,
    Version,
)
from alambique.pipeline import graph as pipeline

VERSION = Version(candidate="pico-onnx-int8", model="cells-onnx", version="1", sha256="0" * 64)


def snapshot(root: Path, request: dict[str, Any]) -> Run:
    graph = pipeline.read(root)
    origin = f"--git-dir={request['deployment']['origin']}"
    champion = root / "champion"
    changing = {"data": str(names(root / "dataset")), "inputs/champions": champion.exists() and champion.read_text()}
    return Run(
        run_id=request["run_id"],
        revision=git(origin, "rev-parse", "main"),
        digest="0" * 64 if request["deployment"]["branch"] == "another-pipeline" else request["digest"],
        sources={source: {"md5": str(changing.get(source, source))} for source in graph.sources},
        params={stage: {} for stage in graph.stages},
        lock=json.loads(git(origin, "show", "main:dvc.lock", check=False) or "{}"),
    )


def run_stage(root: Path, request: dict[str, Any]) -> StageResult:
    stage = pipeline.read(root).stages[request["stage"]]
    hashes = {path: source["md5"] for path, source in request["run"]["sources"].items()}
    deps = [{"path": path, "md5": hashes.get(path, path)} for path in stage.deps]
    outs = [{"path": path, "md5": path} for path in stage.outs]
    return StageResult(stage=stage.name, key="0", entry={"cmd": stage.cmd, "deps": deps, "outs": outs}, found="ran")


def register(root: Path, request: dict[str, Any]) -> Registered:
    return Registered(versions=[VERSION])


def gate(root: Path, request: dict[str, Any]) -> Decisions:
    passed = request["deployment"]["branch"] != "nothing-passes"
    versions = Registered(versions=request["versions"]).versions
    decisions = [Decision(version=version, passed=passed, checks=[]) for version in versions]
    return Decisions(run_id=request["run"]["run_id"], decisions=decisions, challengers=versions if passed else [])


def record(root: Path, request: dict[str, Any]) -> Recorded:
    tag = f"runs/{request['run']['run_id']}"
    entries = {name: result["entry"] for name, result in request["stages"].items()}
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name)
        git("clone", "--quiet", request["deployment"]["origin"], name)
        (clone / "dvc.lock").write_text(json.dumps(entries))
        git("add", "dvc.lock", cwd=clone)
        git("commit", "--quiet", "--allow-empty", "--message", tag, cwd=clone)
        git("tag", tag, cwd=clone)
        git("push", "--quiet", "origin", "main", tag, cwd=clone)
        return Recorded(tag=tag, revision=git("rev-parse", "HEAD", cwd=clone), branch_moved=True)


def unchanged(root: Path, request: dict[str, Any]) -> Unchanged:
    return Unchanged(revision=request["run"]["revision"])


def propose(root: Path, request: dict[str, Any]) -> Proposal:
    tag = request["tag"]
    return Proposal(tag=tag, judgement="1" * 64, subject=f"Promote {tag}?", body="| mAP |\n|---|\n| {{ 1 + 1 }} |")


def promote(root: Path, request: dict[str, Any]) -> Promoted:
    kind, raised = getattr(errors, request["tag"], None), root / request["tag"].replace("/", "-")
    if kind and not raised.exists():
        raised.touch()
        raise kind("on purpose")
    (root / "champion").write_text(request["tag"])
    return Promoted(champions=[VERSION])


def rollback(root: Path, request: dict[str, Any]) -> Promoted:
    return Promoted(champions=[VERSION])


def publish(root: Path, request: dict[str, Any]) -> Published:
    return Published(releases={model: f"s3://lab/out/{model}" for model in request["models"]})


def arrivals(root: Path, request: dict[str, Any]) -> Arrivals:
    found = names(Path(request["deployment"]["arrivals"]))
    return Arrivals(new=len(found), digest=str(found))


def ingest(root: Path, request: dict[str, Any]) -> Ingested:
    return join(root, Path(request["deployment"]["arrivals"]))


def drift(root: Path, request: dict[str, Any]) -> Drift:
    production = Path(request["deployment"]["production"])
    found = names(production)
    if not any(name.startswith("drifted") for name in found):
        return Drift(verdict="no_drift", n=len(found))
    ingested = join(root, production)
    return Drift(verdict="drift", n=len(found), signals=["embedding_mmd"], report="report.html", ingested=ingested)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def join(root: Path, source: Path) -> Ingested:
    """Move what lies in `source` to the dataset."""
    moved = names(source)
    (root / "dataset").mkdir(exist_ok=True)
    for name in moved:
        (source / name).rename(root / "dataset" / name)
    return Ingested(batch="b1" if moved else None, revision="2" * 40, added={"train": len(moved)} if moved else {})


VERBS: dict[str, Callable[[Path, dict[str, Any]], Message]] = {
    "snapshot": snapshot,
    "run-stage": run_stage,
    "register": register,
    "gate": gate,
    "record": record,
    "unchanged": unchanged,
    "propose": propose,
    "promote": promote,
    "publish": publish,
    "rollback": rollback,
    "arrivals": arrivals,
    "ingest": ingest,
    "drift": drift,
}


def main(verb: str, request: Path, result: Path) -> None:
    content = json.loads(request.read_text())
    root = Path(content["deployment"]["home"])
    about = {key: content.get(key) for key in ("stage", "tag", "model", "models", "by", "why", "judgement")}
    with (root / "calls").open("a") as calls:
        calls.write(json.dumps({"verb": verb, "branch": content["deployment"]["branch"], **about}) + "\n")
    try:
        result.write_text(VERBS[verb](root, content).model_dump_json())
    except errors.AlambiqueError as error:
        errors.write_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[3], Path(sys.argv[5]), Path(sys.argv[7]))
