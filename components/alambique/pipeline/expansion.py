"""dvc.yaml expanded into `pipeline.json` by DVC's own parser: what `alambique graph write` and `check` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique import config
from alambique.errors import ConfigurationError
from alambique.pipeline import graph
from alambique.pipeline.dvc_repository import opened, pipeline_stages
from alambique.pipeline.graph import Graph, Stage


def expand(project: Path) -> Graph:
    """The graph that dvc.yaml and params.yaml describe now.

    Raises:
        ConfigurationError: DVC cannot read dvc.yaml, or a stage cannot be run in a clone.
    """
    with opened(project) as repo:
        return Graph.of({stage.name: _stage(stage) for stage in pipeline_stages(repo)})


def write(project: Path) -> None:
    """Expand dvc.yaml into `pipeline.json`, which DAGs are built from; commit it together with dvc.yaml.

    Raises:
        ConfigurationError: as `expand`, or params.yaml asks for something impossible.
    """
    config.load(project)
    graph.save(expand(project), project)


def check(project: Path) -> None:
    """Refuse a `pipeline.json` that is not what dvc.yaml expands to.

    Raises:
        ConfigurationError: it is missing or stale (the message names the stages that differ), or as `write`.
    """
    config.load(project)
    committed, expanded = graph.read(project).stages, expand(project).stages
    differences = [_difference(name, committed.get(name), expanded.get(name)) for name in sorted(committed | expanded)]
    if changes := [difference for difference in differences if difference]:
        raise ConfigurationError(
            f"{graph.FILE} is not what dvc.yaml expands to: {'; '.join(changes)}; "
            "run `alambique graph write` and commit"
        )


def _difference(name: str, committed: Stage | None, expanded: Stage | None) -> str | None:
    if committed is None:
        return f"{name} is new"
    if expanded is None:
        return f"{name} is gone"
    fields = [field for field in Stage.model_fields if getattr(committed, field) != getattr(expanded, field)]
    return f"{name} has other {', '.join(fields)}" if fields else None


def _stage(stage: Any) -> Stage:
    from dvc.stage.utils import split_params_deps

    params, deps = split_params_deps(stage)
    if Path(stage.wdir) != Path(stage.repo.root_dir):
        raise ConfigurationError(f"dvc.yaml: {stage.name} has a wdir; stages run in the project's root")
    for item in (*deps, *stage.outs):
        if not item.is_in_repo:
            raise ConfigurationError(f"dvc.yaml: {stage.name} names {item.def_path}, outside the project")
    for out in stage.outs:
        if not out.use_cache or not out.can_push or out.persist:
            raise ConfigurationError(
                f"dvc.yaml: {out.def_path} of {stage.name} must be cached, pushed and made anew, or clones miss it; "
                "remove `cache: false`, `push: false` or `persist: true`"
            )
    return Stage(
        name=stage.name,
        cmd=stage.cmd if isinstance(stage.cmd, str) else tuple(stage.cmd),
        deps=tuple(sorted(dep.def_path for dep in deps)),
        outs=tuple(sorted(out.def_path for out in stage.outs)),
        params={file.def_path: tuple(sorted(file.params)) for file in params},
        always_changed=bool(stage.always_changed),
    )
