"""The pipeline's stages and edges, and what each stage's result depends on.

Read from the committed `pipeline.json`, which `alambique graph write` expands from dvc.yaml: neither ML nor DVC is
needed here, so Airflow's side reads the graph and answers unchanged stages from the committed lock by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import write_json
from alambique.messages import LockEntry, Run, StageResult

FILE = "pipeline.json"


class Stage(BaseModel):
    """One expanded stage of dvc.yaml.

    Attributes:
        deps: sources (tracked by `.dvc` files), whole outs of other stages, or folders that hold several of either.
        outs: every declared output, metrics and plots included.
        params: the keys it reads of each params file; none means the whole file.
        always_changed: its result is never reused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cmd: str | tuple[str, ...]
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    params: dict[str, tuple[str, ...]] = {}
    always_changed: bool = False


@dataclass(frozen=True)
class Graph:
    """Every stage by its name, in an order in which producers come first."""

    stages: dict[str, Stage]

    @classmethod
    def of(cls, stages: Mapping[str, Stage]) -> Self:
        """Check the edges and put the stages in order.

        Raises:
            ConfigurationError: an out has two producers, a dep lies inside an out, or the stages form a circle.
        """
        producers: dict[str, str] = {}
        for stage in stages.values():
            for out in stage.outs:
                if (other := producers.setdefault(out, stage.name)) != stage.name:
                    raise ConfigurationError(f"dvc.yaml: {out} is an out of both {other} and {stage.name}")
        edges = {name: _producers_of(stage, producers) for name, stage in sorted(stages.items())}
        try:
            return cls({name: stages[name] for name in TopologicalSorter(edges).static_order()})
        except CycleError as error:
            raise ConfigurationError(f"dvc.yaml: the stages form a circle: {' → '.join(error.args[1])}") from None

    @cached_property
    def producers(self) -> dict[str, str]:
        """The stage that makes each out."""
        return {out: stage.name for stage in self.stages.values() for out in stage.outs}

    @cached_property
    def digest(self) -> str:
        """sha256 over the canonical JSON of the stages."""
        return _digest({name: stage.model_dump(mode="json") for name, stage in self.stages.items()})

    @cached_property
    def sources(self) -> frozenset[str]:
        """Deps that no stage makes: `.dvc` files must track them."""
        deps = {dep for stage in self.stages.values() for dep in stage.deps}
        return frozenset(dep for dep in deps if not any(out == dep or lies_in(out, dep) for out in self.producers))

    def upstream(self, stage: str) -> tuple[str, ...]:
        """The stages whose outs `stage` depends on, directly."""
        return _producers_of(self.stages[stage], self.producers)


def lies_in(path: str, folder: str) -> bool:
    """Whether `path` is strictly inside `folder`."""
    return path.startswith(f"{folder}/")


def _producers_of(stage: Stage, producers: Mapping[str, str]) -> tuple[str, ...]:
    found = set()
    for dep in stage.deps:
        for out, producer in producers.items():
            if lies_in(dep, out):
                raise ConfigurationError(
                    f"dvc.yaml: {stage.name} depends on {dep}, inside {out} of {producer}; depend on whole outs or "
                    "`.dvc` files, never on paths inside one"
                )
            if out == dep or lies_in(out, dep):
                found.add(producer)
    return tuple(sorted(found))


def read(project: Path) -> Graph:
    """The committed graph of the project at `project` (its root, or its `pipeline.json`).

    Raises:
        ConfigurationError: there is none.
        IntegrityError: its content does not have the digest it promises.
    """
    path = project / FILE if project.is_dir() else project
    try:
        content = json.loads(path.read_text())
        graph = Graph.of({name: Stage.model_validate(stage) for name, stage in content["stages"].items()})
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {path}; run `alambique graph write` and commit it") from None
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); run `alambique graph write`") from None
    if graph.digest != content.get("digest"):
        raise IntegrityError(f"{path} was edited: its digest is {graph.digest[:12]}; run `alambique graph write`")
    return graph


def save(graph: Graph, project: Path) -> None:
    """Write the graph to the project's `pipeline.json`."""
    stages = {name: stage.model_dump(mode="json") for name, stage in graph.stages.items()}
    write_json(project / FILE, {"digest": graph.digest, "stages": stages})


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
        return _digest({"cmd": self.cmd, "deps": self.deps, "params": self.params, "outs": sorted(self.outs)})

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
        found = {dep.get("path"): dep.get("md5") for dep in entry.get("deps", ())}
        if _canonical(entry.get("cmd")) != _canonical(self.cmd):
            return f"its command is {entry.get('cmd')!r}, not {self.cmd!r}"
        if found.keys() != self.deps.keys():
            return f"its deps are {sorted(map(str, found))}, not {sorted(self.deps)}"
        for path, value in self.deps.items():
            if isinstance(value, str) and found[path] != value:
                return f"its dep {path} has hash {found[path]}, not {value}"
        if _canonical(_filled(entry.get("params", {}))) != _canonical(_filled(self.params)):
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


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _digest(content: Any) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()
