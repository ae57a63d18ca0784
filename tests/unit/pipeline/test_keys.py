from __future__ import annotations

from typing import Any

import pytest
from factories.graphs import DIAMOND, graph_of
from hypothesis import given
from hypothesis import strategies as st

from alambique.errors import ConfigurationError, IntegrityError
from alambique.messages import LockEntry, Run, StageResult
from alambique.pipeline.graph import Graph
from alambique.pipeline.keys import answer, inputs

DATA = {"data": {"md5": "d1.dir", "size": 3, "nfiles": 2}}


def entry_of(graph: Graph, stage: str, deps: dict[str, str], params: Any = 0, version: str = "v") -> LockEntry:
    declared = graph.stages[stage]
    return {
        "cmd": declared.cmd,
        "deps": [{"path": path, "hash": "md5", "md5": value} for path, value in deps.items()],
        "params": {"params.yaml": {stage: params}},
        "outs": [{"path": out, "hash": "md5", "md5": f"{version}:{out}"} for out in declared.outs],
    }


LEFT = entry_of(DIAMOND, "left", {"data": "d1.dir"})
RIGHT = entry_of(DIAMOND, "right", {"data": "d1.dir"})
TOTAL = entry_of(DIAMOND, "total", {"parts": "whatever.dir"})


def params(graph: Graph = DIAMOND) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: {"params.yaml": {name: 0}} for name in graph.stages}


def run_of(**lock: LockEntry) -> Run:
    return Run(run_id="r", revision="c", digest=DIAMOND.digest, sources=DATA, params=params(), lock=lock)


def result(stage: str, entry: LockEntry) -> StageResult:
    return StageResult(stage=stage, key="k", entry=entry, found="ran")


def key(
    stage: str, upstream: dict[str, LockEntry], sources: Any = DATA, values: Any = 0, graph: Graph = DIAMOND
) -> str:
    return inputs(graph, stage, sources, upstream, {"params.yaml": {stage: values}}).key


def test_the_key_follows_data_params_command_and_outs() -> None:
    keys = {
        key("left", {}),
        key("left", {}, sources={"data": {"md5": "d2.dir"}}),
        key("left", {}, values=1),
        key("left", {}, values=1.0),
        key("left", {}, values="1"),
        key("left", {}, graph=graph_of(left=(["data"], ["parts/left"]))),
    }
    assert len(keys) == 6


def test_the_key_ignores_sizes_and_counts() -> None:
    assert key("left", {}) == key("left", {}, sources={"data": {"md5": "d1.dir"}})


def test_the_key_of_a_folder_dep_follows_every_out_inside_and_nothing_else() -> None:
    upstream = {"left": LEFT, "right": RIGHT}
    before = key("total", upstream)
    newer = entry_of(DIAMOND, "right", {"data": "d1.dir"}, version="w")
    assert key("total", {**upstream, "right": newer}) != before
    outs = [out | {"md5": "other"} if out["path"] == "metrics/left.json" else out for out in LEFT["outs"]]
    assert key("total", {**upstream, "left": {**LEFT, "outs": outs}}) == before


def test_an_upstream_entry_without_an_out_has_no_key() -> None:
    with pytest.raises(IntegrityError, match=r"lock entry of right lacks parts/right"):
        key("total", {"left": LEFT})
    with pytest.raises(IntegrityError, match=r"lock entry of left lacks metrics/left\.json"):
        key("total", {"left": {**LEFT, "outs": LEFT["outs"][:1]}, "right": RIGHT})


def test_a_source_that_nothing_tracks_says_how_to_track_it() -> None:
    with pytest.raises(ConfigurationError, match="dvc add data"):
        key("left", {}, sources={})


def test_an_unchanged_stage_is_answered_from_the_committed_lock() -> None:
    found = answer(DIAMOND, run_of(left=LEFT), "left", {})
    assert found is not None
    assert (found.found, found.entry, found.key) == ("lock", LEFT, key("left", {}))


@pytest.mark.parametrize(
    "stale",
    [
        {**LEFT, "cmd": "make left --fast"},
        entry_of(DIAMOND, "left", {"data": "d0.dir"}),
        entry_of(DIAMOND, "left", {"data": "d1.dir"}, params=1),
        entry_of(DIAMOND, "left", {}),
        entry_of(DIAMOND, "left", {"data": "d1.dir", "more": "m"}),
        {**LEFT, "outs": LEFT["outs"][:1]},
        {**LEFT, "outs": [*LEFT["outs"][:1], {"path": "metrics/left.json"}]},
        {},
    ],
)
def test_a_stale_entry_answers_nothing(stale: LockEntry) -> None:
    assert answer(DIAMOND, run_of(left=stale), "left", {}) is None


def test_a_stage_of_a_folder_is_never_answered_from_the_committed_lock() -> None:
    upstream = {"left": result("left", LEFT), "right": result("right", RIGHT)}
    assert answer(DIAMOND, run_of(total=TOTAL), "total", upstream) is None


def test_a_stage_after_another_result_is_not_answered_with_the_old_one() -> None:
    last = entry_of(DIAMOND, "last", {"data": "d1.dir", "total": "v:total"})
    assert answer(DIAMOND, run_of(last=last), "last", {"total": result("total", TOTAL)}) is not None
    newer = entry_of(DIAMOND, "total", {"parts": "whatever.dir"}, version="w")
    assert answer(DIAMOND, run_of(last=last), "last", {"total": result("total", newer)}) is None


def test_an_always_changed_stage_is_never_answered() -> None:
    always = Graph.of({"left": DIAMOND.stages["left"].model_copy(update={"always_changed": True})})
    assert answer(always, run_of(left=LEFT), "left", {}) is None


@st.composite
def histories(draw: st.DrawFn) -> tuple[Graph, list[tuple[str, str, int]]]:
    """A random graph over two sources, and edits of sources (`data`) and of stages' parameters (`param`)."""
    paths = ["s0", "s1"]
    stages: dict[str, tuple[list[str], list[str]]] = {}
    for index in range(draw(st.integers(1, 6))):
        deps = draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3, unique=True))
        folder = draw(st.sampled_from(["", "f/", "g/"]))
        used = [path for path in deps if "/" in path]
        # Some depend on a whole folder, in which later stages may then write no more.
        deps = sorted({path.split("/")[0] if draw(st.booleans()) and path in used else path for path in deps})
        taken = {dep for stage in stages.values() for dep in stage[0]} | set(deps)
        out = f"o{index}" if folder[:1] in taken else f"{folder}o{index}"
        stages[f"n{index}"] = (deps, [out])
        paths.append(out)
    edit = st.tuples(st.just("data"), st.sampled_from(["s0", "s1"]), st.integers(0, 2))
    tune = st.tuples(st.just("param"), st.sampled_from(sorted(stages)), st.integers(0, 2))
    return graph_of(**stages), draw(st.lists(edit | tune, max_size=8))


@given(histories())
def test_whatever_is_edited_no_stage_gets_a_stale_answer(history: tuple[Graph, list[tuple[str, str, int]]]) -> None:
    """Runs that answer from the last run's lock, or by key, end like one that recomputes everything in order."""
    graph, edits = history
    sources, tuned = {"s0": 0, "s1": 0}, dict.fromkeys(graph.stages, 0)
    lock: dict[str, LockEntry] = {}
    known: dict[str, LockEntry] = {}
    for kind, name, value in [("data", "s0", 0), *edits]:
        (sources if kind == "data" else tuned)[name] = value
        run = Run(
            run_id="r",
            revision="c",
            digest=graph.digest,
            sources={path: {"md5": f"{path}={content}"} for path, content in sources.items()},
            params={stage: {"params.yaml": {stage: content}} for stage, content in tuned.items()},
            lock=lock,
        )
        results: dict[str, StageResult] = {}
        for stage in graph.stages:
            upstream = {producer: results[producer] for producer in graph.upstream(stage)}
            results[stage] = answer(graph, run, stage, upstream) or look_up(graph, run, stage, upstream, known)
        lock = {stage: result.entry for stage, result in results.items()}
        assert {s: e["outs"] for s, e in lock.items()} == {s: e["outs"] for s, e in recomputed(graph, run).items()}


def look_up(
    graph: Graph, run: Run, stage: str, upstream: dict[str, StageResult], known: dict[str, LockEntry]
) -> StageResult:
    entries = {name: item.entry for name, item in upstream.items()}
    wanted = inputs(graph, stage, run.sources, entries, run.params[stage])
    entry = known.setdefault(wanted.key, computed(graph, run, stage, entries))
    return StageResult(stage=stage, key=wanted.key, entry=entry, found="ran")


def recomputed(graph: Graph, run: Run) -> dict[str, LockEntry]:
    entries: dict[str, LockEntry] = {}
    for stage in graph.stages:
        entries[stage] = computed(graph, run, stage, entries)
    return entries


def computed(graph: Graph, run: Run, stage: str, entries: dict[str, LockEntry]) -> LockEntry:
    """The entry of a stage whose out is named by all that it saw."""
    tree = {path: str(source["md5"]) for path, source in run.sources.items()}
    tree |= {out["path"]: out["md5"] for entry in entries.values() for out in entry["outs"]}
    declared = graph.stages[stage]
    seen = {
        dep: sorted((path, value) for path, value in tree.items() if path == dep or path.startswith(f"{dep}/"))
        for dep in declared.deps
    }
    value = run.params[stage]["params.yaml"][stage]
    return {
        "cmd": declared.cmd,
        "deps": [{"path": dep, "md5": str(content[0][1] if dep in tree else content)} for dep, content in seen.items()],
        "params": run.params[stage],
        "outs": [{"path": out, "md5": f"{stage}({value}, {seen})"} for out in declared.outs],
    }
