"""The pipeline's stages and edges.

Read from the committed `pipeline.json`, which `alambique graph write` expands from dvc.yaml: neither ML nor DVC is
needed here, so Airflow's side reads the graph and answers unchanged stages from the committed lock by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import write_json

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
        below = _producers_below(producers)
        edges = {name: _producers_of(stage, producers, below) for name, stage in sorted(stages.items())}
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
        return json_sha256({name: stage.model_dump(mode="json") for name, stage in self.stages.items()})

    @cached_property
    def sources(self) -> frozenset[str]:
        """Deps that no stage makes: `.dvc` files must track them."""
        deps = {dep for stage in self.stages.values() for dep in stage.deps}
        return frozenset(deps - self._producers_below.keys())

    @cached_property
    def _producers_below(self) -> dict[str, set[str]]:
        return _producers_below(self.producers)

    def upstream(self, stage: str) -> tuple[str, ...]:
        """The stages whose outs `stage` depends on, directly."""
        return _producers_of(self.stages[stage], self.producers, self._producers_below)


def lies_in(path: str, folder: str) -> bool:
    """Whether `path` is strictly inside `folder`."""
    return path.startswith(f"{folder}/")


def _producers_below(producers: Mapping[str, str]) -> dict[str, set[str]]:
    """By the path of an out, and of each folder that it lies in: the stages with an out there."""
    below = defaultdict(set)
    for out, producer in producers.items():
        for path in (out, *_folders_of(out)):
            below[path].add(producer)
    return below


def _folders_of(path: str) -> list[str]:
    """The relative folders that `path` lies in."""
    return [folder.as_posix() for folder in PurePosixPath(path).parents][:-1]


def _producers_of(stage: Stage, producers: Mapping[str, str], below: Mapping[str, set[str]]) -> tuple[str, ...]:
    names: set[str] = set()
    for dep in stage.deps:
        for folder in _folders_of(dep):
            if folder in producers:
                raise ConfigurationError(
                    f"dvc.yaml: {stage.name} depends on {dep}, inside {folder} of {producers[folder]}; depend on whole "
                    "outs or `.dvc` files, never on paths inside one"
                )
        names |= below.get(dep, set())
    return tuple(sorted(names))


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); run `alambique graph write`") from None
    if graph.digest != content.get("digest"):
        raise IntegrityError(f"{path} was edited: its digest is {graph.digest[:12]}; run `alambique graph write`")
    return graph


def save(graph: Graph, project: Path) -> None:
    """Write the graph to the project's `pipeline.json`."""
    stages = {name: stage.model_dump(mode="json") for name, stage in graph.stages.items()}
    write_json(project / FILE, {"digest": graph.digest, "stages": stages})


def canonical(content: Any) -> str:
    """The one text of `content` as JSON that digests and comparisons rest on."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_sha256(content: Any) -> str:
    """sha256 over the canonical JSON of `content`."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()
