from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import checkpoints, onnx_detectors
from factories.onnx_detectors import COLOURS, URI, finder, give, squares
from factories.stage_work import all_soft_labels, distill, evaluate, recipe, teacher
from factories.tiny_detection import FAMILIES, out, params
from onnx import TensorProto

from alambique import files, layout, tasks
from alambique.config.detect import Params
from alambique.errors import ConfigurationError, DataError
from alambique.softlabels.reader import Cache
from alambique.tasks.cards import read_card
from alambique.tasks.yolo import network, onnx_reading, onnx_teacher
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe
from alambique.tasks.yolo.soft_labels import BoxTeacher, boxes

TEACHER = layout.teacher("main")
NAMED = {"layout": "raw", "names": COLOURS}


def asked(onnx: dict[str, Any] | None = None, **changes: Any) -> Params:
    section = {"source": "fetch", "weights": URI, "network": None, "onnx": onnx, **changes}
    return params(teacher={"main": section}, soft_labels={"shards": [0], "min_score": 0.05})


def made(root: Path, given: Params) -> dict[str, Any]:
    """The metrics of the teacher's stage."""
    give(root)
    return teacher(root, given, "main", out(root, TEACHER))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return squares(tmp_path)


@pytest.mark.parametrize("output", ["raw", "end2end"])
def test_an_ultralytics_export_teaches_by_its_metadata(root: Path, output: str) -> None:
    given = asked()
    path = finder(root / "inputs/teachers/main.pt", output)
    metrics = made(root, given)
    assert metrics["val_map50"] == pytest.approx(0.995, abs=0.01)
    card = read_card(root / TEACHER)
    assert (card["sha256"], card["classes"], card["image_size"]) == (files.sha256(path), COLOURS, 64)
    assert (card["macs"], card["source"]) == (None, URI)
    evaluated = evaluate(root, given, "teacher-main", out(root, layout.evaluation("teacher-main")))
    assert evaluated["map50_95"] > 0.9
    all_soft_labels(root, given)
    cache: Cache[BoxLabels] = Cache.open(root / "soft_labels", recipe(root, given))
    for image in YoloDataset.load(root / "data").images("train"):
        row = cache[f"train/{image.name}"]
        assert len(row.boxes) == 3
        assert sorted(row.classes[:, 0].tolist()) == [0, 1, 2]
        assert np.all(row.scores > 0.99)
        assert np.all(row.logits[:, 0] > row.logits[:, 1] + 10)


def test_a_student_is_distilled_from_one(root: Path) -> None:
    given = asked()
    finder(root / "inputs/teachers/main.pt")
    made(root, given)
    all_soft_labels(root, given)
    metrics = distill(root, given, "pico", 0, out(root, layout.checkpoint("pico", "distilled", 0)))
    assert metrics["train_kd_loss"] > 0


def test_classes_are_mapped_by_name(root: Path) -> None:
    files.write_text(
        root / "data/data.yaml",
        (root / "data/data.yaml").read_text().replace("[red, green, blue]", "[green, red]"),
    )
    for label in root.glob("data/labels/*/*.txt"):  # green was 1, red 0
        lines = [line for line in label.read_text().splitlines() if line[0] != "2"]
        files.write_text(label, "".join(f"{1 - int(line[0])}{line[1:]}\n" for line in lines))
    for output in ("raw", "end2end"):
        finder(root / "inputs/teachers/main.pt", output)
        target = root / "made" / output
        target.mkdir(parents=True)
        give(root)
        assert teacher(root, asked(), "main", target)["val_map50"] > 0.9
        assert read_card(target)["classes"] == ["green", "red"]


@pytest.mark.parametrize(
    ("graph", "section"),
    [
        ({"input_max": 255}, {"input_max": 255}),
        ({"logits": True}, {"logits": True}),
        ({"logits": True, "layout": "end2end"}, {"logits": True, "layout": "end2end"}),
        ({"input_max": 255, "kind": TensorProto.UINT8}, {"input_max": 255}),
        ({"kind": TensorProto.FLOAT16}, {}),
        ({"shape": ("n", 3, "h", "w")}, {}),
    ],
)
def test_what_the_file_does_not_say_is_declared(root: Path, graph: dict[str, Any], section: dict[str, Any]) -> None:
    finder(root / "inputs/teachers/main.pt", metadata=False, **graph)
    assert made(root, asked({**NAMED, **section}))["val_map50"] > 0.9


def test_images_are_stretched_where_it_was_trained_so(tmp_path: Path) -> None:
    root, given = squares(tmp_path, (128, 64)), asked({"resize": "stretch"})
    finder(root / "inputs/teachers/main.pt")
    assert made(root, given)["val_map50"] > 0.9
    assert evaluate(root, given, "teacher-main", out(root, "evaluations/teacher-main"))["map50_95"] > 0.9
    all_soft_labels(root, given)
    cache: Cache[BoxLabels] = Cache.open(root / "soft_labels", recipe(root, given))
    assert np.allclose((cache["val/val0.png"].boxes * 4) % 1, 0, atol=2e-3)


@pytest.mark.parametrize(
    ("graph", "section", "message"),
    [
        ({"input_max": 255}, None, r"mAP50 on val is 0\.000, .* with onnx: {input_max: 255} it is 0\.99"),
        ({"names": ["green", "blue", "red"]}, None, r"mAP50 on val is 0\.0.* without regard to classes it is 0\.99"),
        ({"logits": True}, None, r"puts out a score of .*no probability; onnx\.logits: true"),
        ({}, {"logits": True}, r"lowest score on val is .*they are probabilities; onnx\.logits: false"),
        ({}, {"layout": "end2end"}, r"puts out \(1, 7, 16\), .* end2end .*; onnx\.layout: raw has that"),
        ({"layout": "end2end"}, {"layout": "raw"}, r"puts out \(1, 16, 6\), .*; onnx\.layout: end2end has that"),
        ({}, {"names": ["red", "green", "blue", "grey"]}, r"\(1, 8, places\); no layout has that"),
        ({"names": ["red", "green", "azure"]}, None, r"lacks the dataset's \['blue'\]"),
        ({"metadata": False}, None, r"does not say its classes; .*onnx: {layout"),
        ({"metadata": False}, {"names": COLOURS}, r"does not say its output's layout, .* raw is \(1, 7, places\)"),
        ({"shape": (2, 3, 64, 64)}, None, r"takes \[2, 3, 64, 64\], not one image"),
        ({"shape": (1, 3, 64, 96)}, None, r"takes 64 × 96 pixels; export it with a square input"),
        ({"kind": TensorProto.DOUBLE}, None, r"its input is of float64"),
    ],
)
def test_what_is_read_wrongly_is_refused_in_a_line(
    root: Path, graph: dict[str, Any], section: dict[str, Any] | None, message: str
) -> None:
    finder(root / "inputs/teachers/main.pt", **graph)
    with pytest.raises(DataError, match=message) as caught:
        made(root, asked(section))
    assert "\n" not in str(caught.value)


def test_the_hint_tells_of_stretched_images(tmp_path: Path) -> None:
    root = squares(tmp_path, (192, 64))
    finder(root / "inputs/teachers/main.pt")
    with pytest.raises(DataError, match=r"with onnx: {resize: stretch} it is 0\.99"):
        made(root, asked())


def test_another_input_size_than_the_files_is_refused(root: Path) -> None:
    finder(root / "inputs/teachers/main.pt")
    with pytest.raises(DataError, match="takes 64 pixels, but input_size is 96"):
        made(root, asked(input_size=96))


def test_a_teacher_without_labels_on_val_is_not_trusted(root: Path) -> None:
    for label in root.glob("data/labels/val/*.txt"):
        label.unlink()
    finder(root / "inputs/teachers/main.pt")
    with pytest.raises(DataError, match="val holds no boxes"):
        made(root, asked())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": {"main": {"weights": URI}}}, "cannot be fine-tuned; source: fetch"),
        ({"distill": {"method": "feature"}}, "features, which the ONNX teacher main does not put out; choose soft"),
        ({"networks": {"pico": {"weights": "teacher"}}}, "weights: teacher is an ONNX graph, which cannot be trained"),
        ({"networks": {"pico": {"weights": URI}}}, "an ONNX graph, which cannot be trained; null: from scratch"),
    ],
)
def test_params_refuse_what_an_onnx_teacher_cannot_do(changes: dict[str, Any], message: str) -> None:
    section = {"source": "fetch", "weights": URI}
    with pytest.raises(ConfigurationError, match=message):
        params(**{"teacher": {"main": section}, **changes})


def test_tensors_in_other_files_and_damaged_graphs_are_refused(tmp_path: Path) -> None:
    import onnx

    path = finder(tmp_path / "a.onnx")
    model = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(model, location="b", size_threshold=0)
    onnx.save(model, path)
    with pytest.raises(DataError, match="lies in another file"):
        onnx_reading.describe(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot use"):
        onnx_reading.describe(path)


def test_one_is_named_by_its_content_and_needs_no_suffix(tmp_path: Path) -> None:
    path, task = finder(tmp_path / "main.pt"), tasks.load("detect")
    task.require_weights(path)
    assert task.networks_from(path) is None
    with pytest.raises(DataError, match=r"an ONNX graph; .* \(source: fetch\)"):
        tasks.load("segment").require_weights(path)


def test_final_boxes_of_a_class_leave_the_others_what_is_left_of_one() -> None:
    rows = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]], np.float32)
    scores, classes = np.array([0.5, 0.3, 0.9], np.float32), np.array([2, 0, 1])
    boxes, every = onnx_teacher.complete(rows, scores, classes, 4)
    assert boxes.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert every[0] == pytest.approx([0.3, 0.1, 0.5, 0.1])
    assert every[1] == pytest.approx([0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3])


def test_what_is_left_is_no_more_than_the_lowest_score_that_is_listed() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores = np.array([0.4, 0.02], np.float32)
    _, every = onnx_teacher.complete(rows, scores, np.array([0, 1]), 3)
    assert every == pytest.approx(np.array([[0.4, 0.02, 0.02], [0.02, 0.02, 0.02]]))
    _, every = onnx_teacher.complete(rows, scores, np.array([0, -1]), 3)  # of a class that the dataset does not have
    assert every == pytest.approx(np.array([[0.4, 0.02, 0.02]]))


def test_a_graph_without_the_suffix_has_to_be_declared(root: Path) -> None:
    finder(root / "inputs/teachers/main.pt")
    with pytest.raises(DataError, match=r"is an ONNX graph; give `onnx: {}` beside `weights`"):
        made(root, asked(weights="s3://bucket/model"))


def unsure(folder: Path) -> Path:
    """A checkpoint, whose scores become other than 0 and 1."""
    model = network.load(folder / layout.WEIGHTS)
    head: Any = model.model[-1]
    for layers in head.one2one_cv3 if network.has_one_to_one(model) else head.cv3:
        layers[-1].weight.data *= 0.1
    network.save(model, folder / layout.WEIGHTS, 64)
    checkpoints.write_card(folder, "teacher")
    return folder


@pytest.mark.parametrize(("family", "nms"), [("yolo11", None), ("yolo26", False)])
def test_soft_labels_are_those_of_the_network_that_was_exported(
    root: Path, tmp_path: Path, family: str, nms: bool | None
) -> None:
    """Boxes within 0.002 of the image's sides, the likeliest class, and logits within 0.02.

    Half precision in the cache is a part of that: it places a box within 0.0005, and a logit of 8 within 0.004. A list
    of final boxes ends, so that a network that is sure of everything loses its last ones.
    """
    folder = unsure(checkpoints.checkpoint(root, architecture=FAMILIES[family]))
    dataset, target = YoloDataset.load(root / "data"), out(root, "models/teacher/exported")
    path = onnx_detectors.exported(folder / "weights.pt", tmp_path / "a.onnx", nms=nms, size=64)
    given = asked()
    onnx_teacher.copy(path, given.teacher["main"], dataset.classes, 64, target)
    soft = tasks.load("detect").soft_label_recipe([read_card(folder)], dataset, given)
    assert isinstance(soft, BoxRecipe)
    images = dataset.images("train")
    rows = zip(*(list(boxes([BoxTeacher.open(one)], dataset, images, soft)) for one in (folder, target)), strict=True)
    for whole, graph in rows:
        count = len(graph.boxes)
        assert count == len(whole.boxes) if nms is None else count > len(whole.boxes) / 2
        known = slice(None) if nms is None else slice(1)
        assert np.allclose(whole.boxes[:count], graph.boxes, atol=2e-3)
        assert np.array_equal(whole.classes[:count, 0], graph.classes[:, 0])
        assert np.allclose(whole.logits[:count, known], graph.logits[:, known], atol=0.02)
