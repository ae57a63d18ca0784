"""What a stage's result depends on, and its key: the digest of all of it, by which a result is found again.

Neither ML nor DVC is needed here: Airflow's side answers unchanged stages from the committed lock by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alambique.errors import ConfigurationError, IntegrityError
from alambique.messages import LockEntry, Run, StageResult
from alambique.pipeline.graph import Graph, Stage, canonical, json_sha256, lies_in


@dataclass(frozen=True)
class Inputs:
    """All that a stage's result depends on.

    Attributes:
        deps: path and hash of each dep; for a folder the paths and hashes of everything tracked inside.
        params: as in a lock entry, {file: {key: value}}.
        outs: the declared paths.
    """

    cmd: str | tuple[str, ...]
    deps: dict[str, str | dict[str, str]]
    params: dict[str, dict[str, Any]]
    outs: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """sha256 over the canonical JSON of all of it: equal keys, equal results."""
        return json_sha256({"cmd": self.cmd, "deps": self.deps, "params": self.params, "outs": sorted(self.outs)})

    @property
    def tracked(self) -> dict[str, str]:
        """Hash of each out and source that the deps consist of: what a workspace must hold."""
        tracked: dict[str, str] = {}
        for path, value in self.deps.items():
            tracked.update(value if isinstance(value, dict) else {path: value})
        return tracked

    def contradiction(self, entry: LockEntry) -> str | None:
        """Why `entry` cannot be the result of these inputs; None when it can.

        A folder's own hash in the entry says nothing here: DVC hashes what lies in it, bookkeeping included.
        """
        hashes = {dep.get("path"): dep.get("md5") for dep in entry.get("deps", ())}
        if canonical(entry.get("cmd")) != canonical(self.cmd):
            return f"its command is {entry.get('cmd')!r}, not {self.cmd!r}"
        if hashes.keys() != self.deps.keys():
            return f"its deps are {sorted(map(str, hashes))}, not {sorted(self.deps)}"
        for path, value in self.deps.items():
            if isinstance(value, str) and hashes[path] != value:
                return f"its dep {path} has hash {hashes[path]}, not {value}"
        if canonical(_filled(entry.get("params", {}))) != canonical(_filled(self.params)):
            return "its params are others"
        outs = {out.get("path"): out.get("md5") for out in entry.get("outs", ())}
        if outs.keys() != set(self.outs) or not all(outs.values()):
            return f"its outs are {outs}, not {sorted(self.outs)} with a hash each"
        return None


def inputs(
    graph: Graph,
    stage: str,
    sources: Mapping[str, Mapping[str, Any]],
    upstream: Mapping[str, LockEntry],
    params: Mapping[str, Mapping[str, Any]],
) -> Inputs:
    """What the stage's result depends on in this run.

    Args:
        sources: hash of each path tracked by a `.dvc` file, as in `messages.Run.sources`.
        upstream: lock entries of (at least) the stages in `graph.upstream(stage)`.
        params: the stage's resolved parameters, as in `messages.Run.params[stage]`.
    Raises:
        ConfigurationError: a dep is neither tracked by a `.dvc` file nor an out.
        IntegrityError: an upstream entry is missing, or lacks an out.
    """
    declared = graph.stages[stage]
    hashes = {path: str(source["md5"]) for path, source in sources.items()}
    for producer in graph.upstream(stage):
        hashes |= _out_hashes(graph.stages[producer], upstream.get(producer))
    deps = {dep: hashes[dep] if dep in hashes else _inside(stage, dep, hashes) for dep in declared.deps}
    return Inputs(declared.cmd, deps, {file: dict(values) for file, values in params.items()}, declared.outs)


def _out_hashes(producer: Stage, entry: LockEntry | None) -> dict[str, str]:
    hashes = {out["path"]: out.get("md5") for out in (entry or {}).get("outs", ())}
    if missing := [out for out in producer.outs if not hashes.get(out)]:
        raise IntegrityError(f"the lock entry of {producer.name} lacks {', '.join(missing)}; run {producer.name} again")
    return {out: str(hashes[out]) for out in producer.outs}


def _inside(stage: str, folder: str, hashes: Mapping[str, str]) -> dict[str, str]:
    if not (inside := {path: value for path, value in hashes.items() if lies_in(path, folder)}):
        raise ConfigurationError(
            f"{stage} depends on {folder}, which is neither an out of a stage nor, as a whole, tracked by a `.dvc` "
            f"file; run `dvc add {folder}` and commit {folder}.dvc"
        )
    return inside


def answer(graph: Graph, run: Run, stage: str, upstream: Mapping[str, StageResult]) -> StageResult | None:
    """The stage's result as the committed dvc.lock knows it, or None when the stage must be looked up or run.

    Raises:
        ConfigurationError, IntegrityError: as `inputs`.
    """
    entries = {name: result.entry for name, result in upstream.items()}
    wanted = inputs(graph, stage, run.sources, entries, run.params[stage])
    entry = run.lock.get(stage)
    # An entry holds one hash for a whole folder, from which nobody can tell what lay inside when it was made.
    has_folder = any(isinstance(value, dict) for value in wanted.deps.values())
    if entry is None or graph.stages[stage].always_changed or has_folder or wanted.contradiction(entry):
        return None
    return StageResult(stage=stage, key=wanted.key, entry=entry, found="lock")


def _filled(params: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Without the files of which nothing is read: DVC writes some of them and omits others."""
    return {file: values for file, values in params.items() if values}
