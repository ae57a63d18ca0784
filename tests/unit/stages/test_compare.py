from __future__ import annotations

import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from factories import checkpoints, measured_run, search_results

from alambique import layout
from alambique.config.detect import Params
from alambique.errors import DataError
from alambique.evaluation import paired_bootstrap
from alambique.evaluation.measures import Metrics, Resampled
from alambique.files import read_json, sha256, write_json
from alambique.process.environment import prepare
from alambique.stages import compare
from alambique.tasks.yolo import production_images
from alambique.tasks.yolo.evaluate import write_results
from alambique.tasks.yolo.task import Detect

prepare()


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good the intervals are is not what is tested here."""
    monkeypatch.setattr(paired_bootstrap, "RESAMPLES", 50)


@pytest.fixture
def project(tmp_path: Path, scenes: Path) -> Path:
    root = checkpoints.project(tmp_path / "project", scenes)
    measured_run.write(root, champions=("onnx",))
    return root


def page(project: Path) -> str:
    compare.run(project)
    return (project / "report/report.html").read_text()


def test_the_leaderboard_has_every_subject_of_the_run(project: Path) -> None:
    compare.run(project)
    board = read_json(project / "report/leaderboard.json")
    expected = [
        subject.name
        for subject in layout.evaluation_targets(["main"], ["pico"], [0], ["onnx", "openvino"], ["onnx", "openvino"])
    ]
    assert [row["subject"] for row in board["rows"]] == expected
    assert board["best"] == "pico-openvino-fp32"
    assert board["schema"] == 6
    assert {row["data"] for row in board["rows"] if row["present"]} == {board["data"]}


def test_the_page_names_every_subject_and_needs_no_other_host(project: Path) -> None:
    html = page(project)
    for subject in layout.evaluation_targets(["main"], ["pico"], [0], ["onnx", "openvino"], ["onnx", "openvino"]):
        assert subject.name in html
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, never fetched
    assert not re.search(r"<(script|link|iframe)\b|@import|url\((?!#)", html)
    assert html.count("<svg") == 2
    assert html.count("data:image/jpeg") == 15


def test_the_page_shows_what_is_found_in_the_field_where_production_has_drifted(project: Path) -> None:
    assert "On production images" not in page(project)
    found = {"images": 2, "threshold": 0.25, "boxes": 1.5, "confidence": 0.625, "empty": 0.5}
    for name in ("teacher-main", "pico-onnx-int8"):
        metrics = project / layout.evaluation_metrics(name)
        write_json(metrics, {**read_json(metrics), "field": found})
        boxes = [[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 0.6, 0.6]][: 2 if name == "teacher-main" else 1]
        seen = {"image": "a.png", "boxes": boxes, "scores": [0.9] * len(boxes), "classes": [0] * len(boxes)}
        write_results(project / layout.evaluation(name) / production_images.RESULTS, [seen], production_images.SCHEMA)
    section = page(project).partition("On production images")[2].partition("</table>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    assert "pico-onnx-int8 1.50 0.625 50 % 67 %" in words
    assert "teacher-main 1.50 0.625 50 % 100 %" in words


def test_the_page_shows_what_a_device_gets(project: Path) -> None:
    table = page(project).partition("Artifacts on their runtimes")[2].partition("</table>")[0]
    rows = {match[1]: match[0] for match in re.finditer(r"<tr[^>]*><td>(\S+?)</td>.*?</tr>", table, re.DOTALL)}
    names = [f"pico-{runtime}-{precision}" for runtime in ("onnx", "openvino") for precision in ("fp32", "int8")]
    assert list(rows) == ["pico-pruned", *names, "champion-onnx"]
    artifact, checkpoint = (
        re.sub(r"<[^>]+>", " ", rows[name]).split()[1:] for name in ("pico-onnx-fp32", "pico-pruned")
    )
    assert artifact[:6] == ["76.5", "0.789", "0.0456", "56.5", "zero", "98.7"]
    assert artifact[6:] == ["0.0123", "1.75", "px", "4.20", "5.04", "6.30", "81.5", "43.2"]
    assert checkpoint == ["77.0", "0.789", "0.0456", "57.0", "zero", *7 * ["–"]]


def test_comparing_twice_gives_equal_files(project: Path) -> None:
    page(project)
    before = {path.name: sha256(path) for path in (project / "report").iterdir()}
    page(project)
    assert {path.name: sha256(path) for path in (project / "report").iterdir()} == before
    assert set(before) == {"leaderboard.json", "report.html"}


def several(tmp_path: Path, scenes: Path, **quality: float) -> Path:
    """A run of three seeds and two teachers."""
    root = checkpoints.project(tmp_path / "several", scenes)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"seeds": [4, 0, 2], "teachers": ["main", "other"], "teacher": {"main": {}, "other": {}}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    measured_run.write(root, **quality)
    return root


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"distilled": 0.7, "control": 0.1}, "The distilled student pico gains"),
        ({"distilled": 0.1, "control": 0.7}, "The distilled student pico loses"),
        ({"distilled": 0.5, "control": 0.5}, "Distillation made no clear difference to student pico"),
    ],
)
def test_the_page_says_plainly_what_distillation_was_worth(
    tmp_path: Path, scenes: Path, quality: dict[str, float], words: str
) -> None:
    assert words in page(several(tmp_path, scenes, **quality))


def test_every_seed_is_on_the_page_and_in_the_gain(tmp_path: Path, scenes: Path) -> None:
    root = several(tmp_path, scenes)
    html = page(root)
    for seed in (4, 0, 2):
        assert f"pico-distilled-{seed} and pico-control-{seed}" in html
    assert "the student of seed 4, the first" in html
    assert "Teacher other" in html
    gain = read_json(root / "report/leaderboard.json")["distillation_gain"]["pico"]
    assert (gain["seeds"], gain["images"]) == (3, 8)
    assert gain["low"] < gain["value"] < gain["high"]


def test_each_teacher_is_compared_with_the_control_of_every_seed(tmp_path: Path, scenes: Path) -> None:
    root = several(tmp_path, scenes, teacher=0.7, control=0.1)
    shutil.copy(root / layout.evaluation("pico-control-0") / "images.arrow", root / layout.evaluation("teacher-other"))
    html = page(root)
    advantages = read_json(root / "report/leaderboard.json")["teacher_advantage"]["pico"]
    assert list(advantages) == ["teacher-main", "teacher-other"]
    for advantage in advantages.values():
        assert (advantage["seeds"], advantage["images"]) == (3, 8)
        assert advantage["low"] <= advantage["value"] <= advantage["high"]
    assert advantages["teacher-main"]["low"] > 0
    assert advantages["teacher-other"]["low"] <= 0
    assert "more than the control." in html
    assert "pico: teacher-other minus control" in html
    assert html.count("knows no more than the control of pico") == 1


@pytest.mark.parametrize(("teacher", "notices"), [(0.7, 0), (0.1, 1)])
def test_page_and_log_say_where_a_teacher_knows_no_more_than_the_control(
    tmp_path: Path, scenes: Path, caplog: pytest.LogCaptureFixture, teacher: float, notices: int
) -> None:
    root = several(tmp_path, scenes, teacher=teacher, control=0.1 if teacher > 0.5 else 0.7)
    caplog.set_level("INFO", compare.__name__)
    assert page(root).count("knows no more than the control of pico") == 2 * notices  # of two teachers
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2 * notices
    assert all("there is nothing to distill" in warning for warning in warnings)
    assert [
        record.message
        for record in caplog.records
        if "to student pico" in record.message or "student pico gains" in record.message
    ]


def test_the_first_sentence_of_the_page_is_what_distillation_was_worth(project: Path) -> None:
    header = page(project).partition("<header>")[2].partition("</header>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", header).split())
    assert re.match(r"Alambique · \S+ Distillation made no clear difference to student pico: ", words)
    assert words.index("trained on labels alone") < words.index("pico-openvino-fp32 is the most accurate candidate")


def with_ablations(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"ablations": ["labelled", "start"], "seeds": [4, 0]}
    params["networks"]["pico"]["weights"] = "teacher"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    measured_run.write(root)


def test_ablations_split_the_gain_into_parts_whose_sum_it_is(project: Path) -> None:
    with_ablations(project)
    html = page(project)
    board = read_json(project / "report/leaderboard.json")
    parts, gain = board["gain_parts"]["pico"], board["distillation_gain"]["pico"]
    assert [part["of"] for part in parts] == ["start", "soft labels", "unlabelled images"]
    assert sum(part["value"] for part in parts) == pytest.approx(gain["value"])
    for part in parts:
        assert part["low"] <= part["value"] <= part["high"]
        assert (part["seeds"], part["images"]) == (2, 8)
    rows = {row["subject"]: row for row in board["rows"]}
    assert rows["pico-labelled-0"]["deltas"]["control"] is not None
    header = html.partition("<header>")[2].partition("</header>")[0]
    assert header.index("minus") > header.index("Of these points: start ") > header.index("trained on labels alone")
    assert "without unlabelled samples" in html and 'title="pico-start-4"' in html


def test_without_ablations_no_parts_are_told(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", compare.__name__)
    assert "Of these points" not in page(project)
    assert "Ablation" not in page(project)
    assert read_json(project / "report/leaderboard.json")["gain_parts"] == {"pico": []}
    assert "Of these points" not in caplog.text


def test_a_part_that_is_unknown_today_leaves_the_others_untold(project: Path) -> None:
    with_ablations(project)
    path = project / "metrics/evaluate/pico-start-0.json"
    write_json(path, {**read_json(path), "data": "yesterday's"})
    assert "Of these points" not in page(project)


@pytest.mark.parametrize(("ablations", "evaluations"), [(False, 9), (True, 14)])
def test_every_evaluation_is_resampled_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, ablations: bool, evaluations: int
) -> None:
    if ablations:
        with_ablations(project)
    asked: list[str] = []
    resample = Detect.resample

    def counted(task: Detect, evaluations: Sequence[Path]) -> Resampled:
        asked.extend(folder.name for folder in evaluations)
        return resample(task, evaluations)

    monkeypatch.setattr(Detect, "resample", counted)
    compare.run(project)
    assert len(asked) == len(set(asked)) == evaluations


def test_one_seed_says_what_its_interval_leaves_out(project: Path) -> None:
    assert "not the randomness of training" in page(project)


def test_unknown_figures_are_dashes_not_failures(project: Path) -> None:
    for path in (project / "metrics/evaluate").iterdir():
        content = read_json(path)
        if content["present"]:
            write_json(path, {**content, "map50_95": None, "map50": None, "ap": dict.fromkeys(content["ap"])})
    html = page(project)
    assert "No candidate could be ranked" in html
    assert "What distillation is worth to pico is unknown" in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower()
    assert "None" not in html


def test_a_target_measured_on_other_data_is_pointed_out(project: Path) -> None:
    path = project / "metrics/evaluate/pico-control-0.json"
    write_json(path, {**read_json(path), "data": "yesterday's"})
    html = page(project)
    assert re.search(r"not comparable: pico-control-0\.", html)
    assert "What distillation is worth to pico is unknown" in html


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


def test_the_page_says_which_gate_refuses_a_candidate_and_why(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["gates"] = [
        {"kind": "at_least", "metric": "map50_95", "value": 0.56},
        {"kind": "not_worse_than", "metric": "map50_95", "reference": "champion", "margin": 0.5},
    ]
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    html = page(project)
    assert "2 of 4 candidates pass" in html
    table = html.partition('<table class="gates">')[2].partition("</table>")[0]
    rows = [" ".join(re.sub(r"<[^>]+>", " ", each).split()) for each in table.split("</tr>")]
    onnx = rows[rows.index("pico-onnx-int8 rejected") :]
    assert onnx[1] == "evaluated 8 passed"
    assert onnx[2] == "map50_95 at least 0.56 0.555 0.56 8 below_floor 0.555 is less than 0.56"
    assert re.fullmatch(r"map50_95 not worse than champion 0\.555 0 \[[+-][\d.e-]+, [+-][\d.e-]+\] 8 passed", onnx[3])
    assert "pico-onnx-fp32 passed" in rows


def test_the_page_tells_what_a_search_came_to_only_where_there_was_one(project: Path) -> None:
    assert "<h2>Search</h2>" not in page(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"budget": {"size_mb": 0.5, "max_drop": 0.02}}))
    write_json(project / "search/choice.json", search_results.choice())
    html = page(project)
    section = html.partition("<h2>Search</h2>")[2].partition("<h2>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    assert "Budget: size_mb at most 0.5, max_drop at most 0.02." in words
    assert "size_mb 0.5 is out of reach by 0.12 MB" in words
    assert "pico-onnx-int8 60 % 3.50 0.620 51.3 −1.7 size_mb" in words
    table = html.partition('<table class="gates">')[2].partition("</table>")[0]
    assert "size_mb at most 0.5" in table
    assert "map50_95 not worse than distilled" in table


def test_the_front_of_each_runtime_is_in_the_leaderboard_and_on_the_page(project: Path) -> None:
    html = page(project)
    fronts = read_json(project / "report/leaderboard.json")["pareto"]
    assert fronts["openvino"] == ["pico-openvino-fp32", "pico-openvino-int8"]
    assert "champion-onnx" not in fronts["onnx"]
    assert html.count('<small class="front">') == 4


def test_differences_have_intervals_where_both_were_evaluated_today(project: Path) -> None:
    path = project / "metrics/evaluate/pico-control-0.json"
    write_json(path, {**read_json(path), "data": "yesterday's"})
    compare.run(project)
    rows = {row["subject"]: row for row in read_json(project / "report/leaderboard.json")["rows"]}
    deltas = rows["pico-onnx-int8"]["deltas"]
    assert deltas["control"] is None
    for name in ("champion", "checkpoint", "teacher"):
        assert deltas[name]["low"] <= deltas[name]["value"] <= deltas[name]["high"]
        assert deltas[name]["n"] == 8
    assert rows["pico-onnx-int8"]["latency_deltas"]["champion"]["high"] < 0
    assert rows["pico-openvino-int8"]["latency_deltas"]["champion"] is None


def test_figures_beside_the_teachers_are_asked_of_what_was_evaluated_today(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "metrics/evaluate/pico-control-0.json"
    write_json(path, {**read_json(path), "data": "yesterday's"})
    asked = []

    def relative(task: Detect, subject: Path, teacher: Path, params: Params) -> Metrics:
        asked.append((subject.name, teacher.name))
        return {"f1": math.nan if subject == teacher else 0.125}

    monkeypatch.setattr(Detect, "relative", relative)
    compare.run(project)
    rows = {row["subject"]: row for row in read_json(project / "report/leaderboard.json")["rows"]}
    assert {teacher for _, teacher in asked} == {"teacher-main"}
    assert [rows[name]["metrics"]["f1"] for name in ("teacher-main", "pico-onnx-int8")] == [None, 0.125]
    assert {"pico-control-0", "champion-openvino"}.isdisjoint(name for name, _ in asked)
