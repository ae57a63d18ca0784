from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alambique import config
from alambique.errors import ConfigurationError
from alambique.runs.new_project import template_for

REFERENCE = Path(__file__).parents[3]
NOT_WORSE = {"kind": "not_worse_than", "metric": "map50_95", "reference": "control"}


def reference() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REFERENCE / "params.yaml").read_text())
    return content


def changed(path: str, value: Any) -> dict[str, Any]:
    """The reference params.yaml with one key, given by its dotted path, set to `value`."""
    content = reference()
    *parents, key = path.split(".")
    section = content
    for parent in parents:
        section = section[parent]
    section[key] = value
    return content


def test_the_reference_is_valid_and_says_every_default() -> None:
    params = config.load(REFERENCE)
    assert params.students == ("pico",)
    assert config.parse(reference(), "params.yaml") == params


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("distil", {}, "distil: Extra inputs"),
        ("distill.temprature", 2.0, "distill.temprature: Extra inputs"),
        ("distill.temperature", 0, "distill.temperature: Input should be greater than 0"),
        ("distill.temperature", -1.0, "distill.temperature"),
        ("distill.temperature", float("nan"), "distill.temperature"),
        ("distill.steps", "30", "distill.steps: Input should be a valid integer"),
        ("distill.steps", 1.5, "distill.steps"),
        ("distill.weight", 0.0, "distill.weight"),
        ("drift.min_images", 501, "drift: min_images 501 is more than the window 500 holds"),
        ("students", ["../pico"], "students.0: '../pico' is not a name"),
        ("students", ["a-b"], "students.0"),
        ("students", [], "students"),
        ("students", ["pico", "pico"], "names one twice"),
        ("students", ["other"], "'other' has no entry in `networks`"),
        ("runtimes", ["tensorflow"], "runtimes.0"),
        ("runtimes", ["onnx"], "int8: openvino must stand among the runtimes too"),
        ("int8", ["onnx", "ncnn"], "int8: ncnn cannot be quantized for; only onnx, openvino, mnn, engine can"),
        ("ablations", ["end"], "ablations.0: Input should be 'start' or 'labelled'"),
        ("ablations", ["start", "start"], "ablations: ['start', 'start'] names one twice"),
        ("input_size", 100, "input_size: Input should be a multiple of 32"),
        ("teacher.main.source", "fetch", "teacher.main: source: fetch needs `weights`"),
        ("teacher.main.sha256", "a" * 64, "teacher.main: sha256 pins `weights`"),
        ("teacher.main", {"source": "fetch", "weights": "champion:tflite"}, "'tflite' is no runtime: champion:<one of"),
        ("teacher.main", {"source": "train", "weights": "champion:onnx"}, "self-distillation needs source: fetch"),
        ("teachers", ["other"], "teachers: 'other' has no entry in `teacher`"),
        ("soft_labels.shards", [0, 2], "soft_labels: shards must count up"),
        ("gates", [{"kind": "at_least", "metric": "map50"}], "gates.0.at_least.value: Field required"),
        ("gates", [{"kind": "better"}], "gates.0"),
        ("gates", [{"kind": "teacher_better_than", "reference": "champion"}], "reference: Input should be 'control'"),
        ("gates", [{**NOT_WORSE, "metric": "size_mb", "limit": 1.0}], "size_mb has no interval, only map50_95 and"),
        ("gates", [{**NOT_WORSE, "margin": 0.02, "limit": 0.01}], "limit: 0.01 is less than the margin 0.02"),
        (
            "gates",
            [{"kind": "each_class", "metric": "map50_95", "value": 0.5}],
            "gates.0.metric: map50_95 is not measured of each class",
        ),
    ],
)
def test_what_is_impossible_is_refused_by_its_path(path: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        config.parse(changed(path, value), "params.yaml")
    assert words in str(refusal.value)
    assert refusal.value.exit_code == 78


@pytest.mark.parametrize("task", config.TASKS)
def test_the_gate_on_the_teacher_is_shown_in_every_template_and_off(task: str) -> None:
    text = template_for(task).read_text()
    assert "teacher_better_than" not in {gate["kind"] for gate in yaml.safe_load(text)["gates"]}
    line = "- {kind: teacher_better_than, reference: control}"
    kinds = {gate["kind"] for gate in yaml.safe_load(text.replace(f"# {line}", line))["gates"]}
    assert "teacher_better_than" in kinds


@pytest.mark.parametrize("task", config.TASKS)
def test_no_template_trains_an_ablation(task: str) -> None:
    assert yaml.safe_load(template_for(task).read_text())["ablations"] == []


@pytest.mark.parametrize(
    ("task", "ablation", "section", "change", "words"),
    [
        ("detect", "start", "networks", {"pico": {"weights": None}}, "start is the control again: no student has `wei"),
        ("detect", "start", "distill", {"method": "none"}, "start is the distilled student again with distill.method"),
        ("detect", "labelled", "distill", {"method": "feature"}, "labelled is the distilled student again with distil"),
        ("segment", "labelled", "distill", {"method": "pseudo"}, "labelled learns from labels alone, as start, with "),
        ("text", "labelled", "distill", {}, "labelled is the distilled student again with distill.method soft"),
        ("classify", "labelled", "soft_labels", {"augment": {"mix": "mixup"}}, "labelled cannot leave out the unlabe"),
    ],
)
def test_an_ablation_that_is_another_training_again_is_refused(
    task: str, ablation: str, section: str, change: dict[str, Any], words: str
) -> None:
    content = yaml.safe_load(template_for(task).read_text()) | {"task": task, "ablations": [ablation]}
    for student in content["students"]:
        content["networks"][student]["weights"] = "teacher"
    content[section] |= change
    with pytest.raises(ConfigurationError, match=f"ablations: {words}"):
        config.parse(content, "params.yaml")


@pytest.mark.parametrize(("task", "method"), [("detect", "hybrid"), ("segment", "hybrid"), ("text_classify", "soft")])
def test_ablations_that_differ_are_accepted(task: str, method: str) -> None:
    content = yaml.safe_load(template_for(task).read_text()) | {"task": task, "ablations": ["start", "labelled"]}
    content["networks"][content["students"][0]]["weights"] = "teacher"
    content["distill"]["method"] = method
    assert config.parse(content, "params.yaml").ablations == ("start", "labelled")


def test_a_teacher_may_be_the_champion() -> None:
    champion = {"source": "fetch", "weights": "champion:openvino"}
    assert config.parse(changed("teacher.main", champion), "params.yaml").teacher["main"].weights == "champion:openvino"


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_teacher_s_network_is_that_of_its_weights_or_is_named(task: str) -> None:
    content = yaml.safe_load(template_for(task).read_text())
    content |= {"project": "cells", "task": task}
    content["teacher"]["main"] |= {"network": None, "weights": "yolo26n.pt"}
    assert config.parse(content, "params.yaml").teacher["main"].network is None
    content["teacher"]["main"]["weights"] = None
    with pytest.raises(ConfigurationError, match="network: null is that of `weights`, but there are none"):
        config.parse(content, "params.yaml")


def test_the_pin_of_a_student_s_weights_is_its_own_or_its_teacher_s() -> None:
    content = changed("teacher.main", {**reference()["teacher"]["main"], "weights": "b.pt", "sha256": "b" * 64})
    assert config.parse(content, "params.yaml").student_pin("pico") == "b" * 64
    content["networks"]["pico"] |= {"weights": "https://example.org/a.pt", "sha256": "a" * 64}
    assert config.parse(content, "params.yaml").student_pin("pico") == "a" * 64


def test_a_name_of_the_house_is_no_student() -> None:
    content = changed("networks.teacher", {"scale": "n"})
    content["students"] = ["teacher"]
    with pytest.raises(ConfigurationError, match="'teacher' is reserved"):
        config.parse(content, "params.yaml")


def test_every_offence_has_a_line() -> None:
    content = changed("distill.temperature", 0)
    content["prune"]["ratio"] = 1.0
    with pytest.raises(ConfigurationError) as refusal:
        config.parse(content, "params.yaml")
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2\n", "just words\n", ""])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ConfigurationError):
        config.load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"params\.yaml.*is this the project's root"):
        config.load(tmp_path)


def test_the_control_of_a_student_that_starts_from_its_teacher_starts_where_that_did() -> None:
    content = changed("teacher.main.weights", "yolo26n.pt")
    trained = config.parse(content, "params.yaml")
    assert trained.starts_from_teacher("pico")
    assert trained.student_weights("pico") == "yolo26n.pt"
    content["teacher"]["main"]["source"] = "fetch"  # nobody knows what it was trained from
    assert config.parse(content, "params.yaml").student_weights("pico") is None
    content["networks"]["pico"]["weights"] = "other.pt"
    given = config.parse(content, "params.yaml")
    assert (given.starts_from_teacher("pico"), given.student_weights("pico")) == (False, "other.pt")


def test_an_old_key_is_refused_with_its_new_name() -> None:
    content = changed("teacher.main.epochs", 30)
    content["distill"]["fade"] = 0.2
    with pytest.raises(ConfigurationError) as refusal:
        config.parse(content, "params.yaml")
    assert str(refusal.value).splitlines() == [
        "params.yaml: distill.fade: this key is distill.anneal now; rename it",
        "params.yaml: teacher.main.epochs: this key is teacher.main.steps now; give it in updates by the optimizer, "
        "not in epochs",
    ]
