"""Small graphs of made-up stages."""

from __future__ import annotations

from alambique.pipeline.graph import Graph, Stage


def graph_of(**stages: tuple[list[str], list[str]]) -> Graph:
    expanded = {
        name: Stage(name=name, cmd=f"make {name}", deps=tuple(deps), outs=tuple(outs), params={"params.yaml": (name,)})
        for name, (deps, outs) in stages.items()
    }
    return Graph.of(expanded)


DIAMOND = graph_of(
    total=(["parts"], ["total"]),
    left=(["data"], ["parts/left", "metrics/left.json"]),
    right=(["data"], ["parts/right"]),
    last=(["total", "data"], ["last"]),
)
