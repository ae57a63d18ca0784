"""Tiny real projects for the runner: a bare git origin, a DVC remote in a folder, stages that take milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from alambique.config.deployment import Deployment
from alambique.git import git
from alambique.messages import Run, StageRequest, StageResult
from alambique.pipeline import expansion
from alambique.pipeline import graph as pipeline
from alambique.pipeline.dvc_repository import lock_entries, opened, resolved_params, source_hashes
from alambique.pipeline.transfer import push
from alambique.runs.run_stage import run_stage

SOURCES = ("data", "other")

STAGE = """
import json, pathlib, sys, yaml

name, out, *deps = sys.argv[1:]
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
files = [f for d in deps for f in ([pathlib.Path(d)] if pathlib.Path(d).is_file() else pathlib.Path(d).rglob("*"))]
seen = {f.as_posix(): f.read_text() for f in files if f.is_file() and f.name != ".gitignore"}
target = pathlib.Path(out)
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text(json.dumps({"param": params[name], "seen": seen}, sort_keys=True))
"""
"""A stage that writes all it saw: its own parameter, and every file of its deps with its content."""


def made(param: Any, seen: dict[str, str]) -> str:
    """What STAGE writes, by the plainest route: the reference that the runner is compared with."""
    return json.dumps({"param": param, "seen": seen}, sort_keys=True)


def stage(name: str, out: str, *deps: str, **extra: Any) -> dict[str, Any]:
    """A stage of dvc.yaml that runs STAGE."""
    cmd = " ".join(("python stage.py", name, out, *deps))
    return {"cmd": cmd, "deps": list(deps), "params": [name], "outs": [out], **extra}


DIAMOND = {
    "left": stage("left", "parts/left", "data"),
    "right": stage("right", "parts/right", "other"),
    "total": stage("total", "total", "parts"),
    "last": stage("last", "last", "total", "data"),
}
"""data → left ↘            ↗ last (also of data)
other → right → parts → total"""


@dataclass
class Project:
    """A checkout from which commits are pushed, and what a run needs to know of them."""

    root: Path
    stages: dict[str, Any] = field(default_factory=lambda: dict(DIAMOND))
    remote: str | None = None

    def __post_init__(self) -> None:
        self.checkout, self.remote_folder = self.root / "checkout", self.root / "remote"
        self.deployment = Deployment(origin=str(self.root / "origin.git"), home=self.root / "home")
        git("init", "--quiet", "--bare", "--initial-branch=main", self.deployment.origin)
        git("clone", "--quiet", self.deployment.origin, str(self.checkout))
        git("checkout", "--quiet", "-b", "main", cwd=self.checkout)
        with Repo.init(str(self.checkout)) as repo, repo.config.edit("repo") as config:
            config["core"] = {"remote": "store", "analytics": False}
            config["remote"] = {"store": {"url": self.remote or str(self.remote_folder)}}
        with repo.config.edit("local") as config:
            config["core"] = {"site_cache_dir": str(self.root / "site")}
        self.write("stage.py", STAGE)
        self.write("params.yaml", yaml.safe_dump(dict.fromkeys(self.stages, 0)))
        self.write("dvc.yaml", yaml.safe_dump({"stages": self.stages}))
        for source in SOURCES:
            self.write(f"{source}/a.txt", f"{source} a")
            self.write(f"{source}/b.txt", f"{source} b")

    def write(self, path: str, content: str) -> None:
        target = self.checkout / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)

    def param(self, name: str, value: Any) -> None:
        params = yaml.safe_load((self.checkout / "params.yaml").read_text())
        self.write("params.yaml", yaml.safe_dump(params | {name: value}))

    def snapshot(self) -> Run:
        """Version the sources, commit and push: what the snapshot verb does, without the rest."""
        with opened(self.checkout) as repo:
            repo.add([str(self.checkout / source) for source in SOURCES])
        push(self.checkout, SOURCES)
        graph = expansion.expand(self.checkout)
        pipeline.save(graph, self.checkout)
        git("add", "--all", cwd=self.checkout)
        git("commit", "--quiet", "--allow-empty", "-m", "snapshot", cwd=self.checkout)
        git("push", "--quiet", "origin", "main", cwd=self.checkout)
        return Run(
            run_id="run",
            revision=git("rev-parse", "HEAD", cwd=self.checkout),
            digest=graph.digest,
            sources=source_hashes(self.checkout),
            params=resolved_params(self.checkout),
            lock=lock_entries(self.checkout),
        )

    def request(self, run: Run, name: str, results: dict[str, StageResult]) -> StageRequest:
        graph = pipeline.read(self.checkout)
        upstream = {producer: results[producer] for producer in graph.upstream(name)}
        return StageRequest(deployment=self.deployment, run=run, stage=name, upstream=upstream)

    def run(self, run: Run) -> dict[str, StageResult]:
        """Every stage, in order."""
        results: dict[str, StageResult] = {}
        for name in pipeline.read(self.checkout).stages:
            results[name] = run_stage(self.request(run, name, results))
        return results

    def content(self, result: StageResult, out: str) -> str:
        """What an out holds, read from the remote by its hash."""
        (digest,) = (item["md5"] for item in result.entry["outs"] if item["path"] == out)
        return self.object(digest).read_text()

    def object(self, digest: str) -> Path:
        return self.remote_folder / "files" / "md5" / digest[:2] / digest[2:]


def ran(results: dict[str, StageResult]) -> set[str]:
    """The stages that did work."""
    return {name for name, result in results.items() if result.found == "ran"}
