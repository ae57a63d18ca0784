from __future__ import annotations

import json
from pathlib import Path

import pytest
from factories.graphs import DIAMOND, graph_of

from alambique.errors import ConfigurationError, IntegrityError
from alambique.pipeline.graph import read, save


def test_a_stage_is_downstream_of_the_producers_of_its_deps_and_of_what_lies_in_them() -> None:
    assert DIAMOND.upstream("left") == ()
    assert DIAMOND.upstream("total") == ("left", "right")
    assert DIAMOND.upstream("last") == ("total",)


def test_producers_come_before_consumers() -> None:
    order = list(DIAMOND.stages)
    assert all(order.index(up) < order.index(name) for name in order for up in DIAMOND.upstream(name))


def test_deps_that_no_stage_makes_are_sources() -> None:
    assert DIAMOND.sources == {"data"}


def test_a_name_that_merely_begins_like_a_folder_is_not_inside_it() -> None:
    graph = graph_of(a=([], ["parts-old"]), b=(["data"], ["parts/b"]), c=(["parts"], ["c"]))
    assert graph.upstream("c") == ("b",)


def test_a_dep_inside_an_out_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="inside model of a; depend on whole outs"):
        graph_of(a=([], ["model"]), b=(["model/weights.pt"], ["b"]))


def test_two_producers_of_one_out_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="out of both a and b"):
        graph_of(a=([], ["x"]), b=([], ["x"]))


def test_a_circle_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="circle"):
        graph_of(a=(["y"], ["x"]), b=(["x"], ["y"]))


def test_the_committed_graph_reads_back_equal(tmp_path: Path) -> None:
    save(DIAMOND, tmp_path)
    assert read(tmp_path) == DIAMOND == read(tmp_path / "pipeline.json")


def test_an_edited_graph_is_refused(tmp_path: Path) -> None:
    save(DIAMOND, tmp_path)
    content = json.loads((tmp_path / "pipeline.json").read_text())
    content["stages"]["left"]["cmd"] = "rm -rf /"
    (tmp_path / "pipeline.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="was edited"):
        read(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"stages": {"a": {"cmd": 1}}}', '{"digest": "x"}'])
def test_a_damaged_graph_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "pipeline.json").write_text(content)
    with pytest.raises(IntegrityError, match="graph write"):
        read(tmp_path)


def test_a_missing_graph_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="alambique graph write"):
        read(tmp_path)
