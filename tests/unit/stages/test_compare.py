from __future__ import annotations

import re
from pathlib import Path

import measured_run
import pytest
import subjects

from alambique import layout
from alambique.errors import DataError
from alambique.files import read_json, sha256, write_json
from alambique.stages import compare
from alambique.stages.environment import prepare

prepare()


@pytest.fixture
def project(tmp_path: Path, scenes: Path) -> Path:
    root = subjects.project(tmp_path / "project", scenes)
    measured_run.write(root, champions=("onnx",))
    return root


def page(project: Path) -> str:
    compare.run(project)
    return (project / "report/report.html").read_text()


def test_the_leaderboard_has_every_subject_of_the_run(project: Path) -> None:
    compare.run(project)
    board = read_json(project / "report/leaderboard.json")
    expected = [subject.name for subject in layout.subjects(["pico"], ["onnx", "openvino"])]
    assert [row["subject"] for row in board["rows"]] == expected
    assert board["best"] == "pico-openvino-fp32"
    assert board["distillation_gain"] == {"pico": pytest.approx(0.03)}
    assert {row["data"] for row in board["rows"] if row["present"]} == {board["data"]}


def test_the_page_names_every_subject_and_needs_no_other_host(project: Path) -> None:
    html = page(project)
    for subject in layout.subjects(["pico"], ["onnx", "openvino"]):
        assert subject.name in html
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, never fetched
    assert not re.search(r"<(script|link|iframe)\b|@import|url\((?!#)", html)
    assert html.count("<svg") == 2
    assert html.count("data:image/jpeg") == 15


def test_comparing_twice_gives_equal_files(project: Path) -> None:
    page(project)
    before = {path.name: sha256(path) for path in (project / "report").iterdir()}
    page(project)
    assert {path.name: sha256(path) for path in (project / "report").iterdir()} == before
    assert set(before) == {"leaderboard.json", "report.html"}


def test_the_page_says_plainly_that_distillation_was_a_loss(project: Path) -> None:
    path = project / "metrics/evaluate/pico-distilled.json"
    write_json(path, {**read_json(path), "map50_95": 0.5})
    html = page(project)
    assert "−5.0" in html
    assert "better off without the teacher" in html


def test_unknown_figures_are_dashes_not_failures(project: Path) -> None:
    for path in (project / "metrics/evaluate").iterdir():
        content = read_json(path)
        if content["present"]:
            write_json(path, {**content, "map50_95": None, "map50": None, "ap": dict.fromkeys(content["ap"])})
    html = page(project)
    assert "No candidate could be ranked" in html
    assert "What distillation was worth to pico cannot be told" in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower()
    assert "None" not in html


def test_a_subject_measured_on_other_data_is_pointed_out(project: Path) -> None:
    path = project / "metrics/evaluate/pico-control.json"
    write_json(path, {**read_json(path), "data": "yesterday's"})
    assert re.search(r"not to be compared: pico-control\.", page(project))


def test_class_names_cannot_write_html(project: Path) -> None:
    path = project / "data/data.yaml"
    path.write_text(path.read_text().replace("zero", "'<script>alert(1)</script>'"))
    html = page(project)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("name", ["metrics/evaluate/pico-onnx-int8.json", "metrics/benchmark.json"])
def test_a_missing_metrics_file_is_named(project: Path, name: str) -> None:
    (project / name).unlink()
    with pytest.raises(DataError, match=re.escape(name)):
        compare.run(project)
    assert not (project / "report").exists()
