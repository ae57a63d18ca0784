from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from alambique.errors import ConfigurationError
from alambique.pipeline import expansion
from alambique.pipeline import graph as pipeline

REFERENCE = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The reference pipeline."""
    for name in ("dvc.yaml", "params.yaml", "versions.yaml"):
        shutil.copyfile(REFERENCE / name, tmp_path / name)
    return tmp_path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_matrices_and_params_are_expanded(project: Path) -> None:
    graph = expansion.expand(project)
    shard = graph.stages["soft_labels@1"]
    assert shard.cmd == "python -m alambique.stage soft_labels 1"
    assert shard.outs == ("metrics/soft_labels/1.json", "soft_labels/1")
    assert shard.params["params.yaml"] == ("soft_labels", "task", "teachers")
    assert shard.params["versions.yaml"] == ()
    assert graph.upstream("distill@pico-0") == ("soft_labels@0", "soft_labels@1", "teacher@main", "validate")
    assert graph.stages["benchmark"].always_changed
    assert graph.sources == {"data", "inputs/teachers", "inputs/students", "inputs/champions"}


def test_what_was_written_passes_the_check(project: Path) -> None:
    expansion.write(project)
    expansion.check(project)
    assert pipeline.read(project) == expansion.expand(project)


def test_a_stale_graph_is_refused_by_the_names_of_what_differs(project: Path) -> None:
    expansion.write(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    edit(
        project / "params.yaml",
        soft_labels=params["soft_labels"] | {"shards": [0, 1, 2]},
        runtimes=["onnx"],
        int8=["onnx"],
    )
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("stage compare", "stage compare --fast"))
    with pytest.raises(ConfigurationError) as refusal:
        expansion.check(project)
    for words in ("soft_labels@2 is new", "export@pico-openvino is gone", "compare has other cmd", "graph write"):
        assert words in str(refusal.value)


def test_ablations_are_stages_of_their_own_that_change_no_other_training(project: Path) -> None:
    without = expansion.expand(project).stages
    assert not [name for name in without if "ablation" in name]
    edit(project / "params.yaml", ablations=["start", "labelled"], seeds=[0])
    graph = expansion.expand(project)
    kinds = [f"pico-{ablation}-0" for ablation in ("start", "labelled")]
    added = {f"{stage}@{kind}" for stage in ("ablation", "evaluate_ablation") for kind in kinds}
    assert set(graph.stages) == {*without, *added}
    assert all(graph.stages[name] == stage for name, stage in without.items())
    start = graph.stages["ablation@pico-start-0"]
    assert start.cmd == "python -m alambique.stage ablation pico start 0"
    assert start.outs == ("metrics/ablation/pico-start-0.json", "models/start/0/pico")
    assert (start.deps, start.params) == (without["distill@pico-0"].deps, without["distill@pico-0"].params)
    assert graph.upstream("evaluate_ablation@pico-start-0") == ("ablation@pico-start-0", "validate")
    assert added <= set(graph.upstream("compare"))


def test_a_changed_value_that_changes_no_stage_passes(project: Path) -> None:
    expansion.write(project)
    edit(project / "params.yaml", seed=7)
    expansion.check(project)


def test_bad_params_are_refused_before_the_graph_is_written(project: Path) -> None:
    edit(project / "params.yaml", input_size=100)
    with pytest.raises(ConfigurationError, match="input_size"):
        expansion.write(project)
    assert not (project / pipeline.FILE).exists()


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"cmd": "x", "metrics": [{"m.json": {"cache": False}}]}, "must be cached"),
        ({"cmd": "x", "outs": [{"o": {"push": False}}]}, "must be cached"),
        ({"cmd": "x", "outs": [{"o": {"persist": True}}]}, "made anew"),
        ({"cmd": "x", "wdir": "sub"}, "wdir"),
        ({"cmd": "x", "deps": ["/elsewhere"]}, "outside the project"),
        ({"cmd": "x ${nothing}"}, "nothing"),
        ({"cmd": "x", "deps": [{}]}, "dvc.yaml"),
    ],
)
def test_what_no_clone_could_run_is_refused(project: Path, stage: dict[str, Any], words: str) -> None:
    (project / "sub").mkdir()
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
    with pytest.raises(ConfigurationError, match=words):
        expansion.expand(project)
