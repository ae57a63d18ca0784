from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from factories.stage_work import teacher
from factories.tiny_detection import CLASSES, NETWORK, out, params, project
from ultralytics.nn.tasks import DetectionModel, SegmentationModel

from alambique import files, tasks
from alambique.errors import DataError, IntegrityError
from alambique.tasks.yolo import network, widths
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess
from alambique.tasks.yolo.soft_labels import predict_raw

TEACHER = Path("models/teacher/main")
GIVEN = Path("inputs/teachers/main.pt")


def give(root: Path, classes: list[str] = CLASSES) -> str:
    """Put weights into inputs/teachers, as `snapshot` does; returns their sha256."""
    network.save(network.build(NETWORK, classes, 7), root / GIVEN, image_size=64)
    return index(root)


def index(root: Path) -> str:
    digest = files.sha256(root / GIVEN)
    entry = {"uri": "s3://bucket/a.pt", "sha256": digest, "file": GIVEN.name}
    files.write_json(root / GIVEN.parent / "index.json", {"main": entry})
    return digest


def section(**changes: object) -> dict[str, object]:
    return {"teacher": {"main": {"network": NETWORK.model_dump(), "epochs": 1, **changes}}}


FETCH = section(source="fetch", weights="s3://bucket/a.pt")


def make(root: Path, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stage; its metrics and its card."""
    metrics = teacher(root, params(**changes), "main", out(root, TEACHER))
    return metrics, files.read_json(root / TEACHER / "card.json")


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_teacher_is_trained_from_scratch_where_none_is_given(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    metrics, card = make(root)
    assert (card["kind"], card["source"], card["classes"]) == ("teacher", None, CLASSES)
    assert metrics["parameters"] == card["parameters"]
    assert (root / TEACHER / "curves.csv").read_text().startswith("epoch,box_loss,")


def test_a_given_teacher_is_where_training_starts(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root)
    still = {"batch": 8, "learning_rate": 1e-12}  # so that the end of the training tells of its start
    _, card = make(root, training=still)
    trained, given = network.load(root / TEACHER / "weights.pt"), network.load(root / GIVEN)
    torch.testing.assert_close(weights(trained), weights(given), atol=1e-3, rtol=1e-3)
    assert card["source"] == "s3://bucket/a.pt"


def test_a_fetched_teacher_is_taken_as_it_is(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    digest = give(root)
    _, card = make(root, **section(source="fetch", weights="s3://bucket/a.pt", sha256=digest))
    assert card["sha256"] == digest == files.sha256(root / TEACHER / "weights.pt")


@pytest.mark.parametrize("changes", [{}, FETCH], ids=["trained", "fetched"])
def test_the_card_tells_how_good_the_teacher_is_on_val(
    tmp_path: Path, scenes: Path, changes: dict[str, object]
) -> None:
    root = project(tmp_path, scenes)
    give(root)
    metrics, card = make(root, **changes)
    measured = tasks.load("detect").measure_val(root / TEACHER, YoloDataset.load(root / "data"), params())
    assert card["val_map50_95"] == metrics["val_map50_95"] == measured["map50_95"]
    assert card["val_ap"] == measured["ap"]
    assert list(card["val_ap"]) == sorted(CLASSES)
    assert 0 <= card["val_map50_95"] < 0.5


def test_a_pruned_student_may_teach(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    student = network.build(NETWORK, CLASSES, 7)
    pruned = widths.build(student, widths.schedule(student, "macs", [0.3], 64)[0])
    network.save(pruned, root / GIVEN, image_size=64)
    index(root)
    _, card = make(root, **FETCH)
    assert card["parameters"] == network.parameters(pruned) < network.parameters(student)


def logits(model: DetectionModel, scenes: Path) -> torch.Tensor:
    image = next(iter(YoloDataset.load(scenes).images("val")))
    return predict_raw(model.eval(), torch.from_numpy(preprocess(image, 64)[0]))[1]


@pytest.mark.parametrize(
    "known",
    [CLASSES[::-1], ["cat", *CLASSES[5:], "dog", *CLASSES[:5]]],
    ids=["permuted", "superset"],
)
def test_a_fetched_teacher_of_more_or_reordered_classes_is_mapped_by_name(
    tmp_path: Path, scenes: Path, known: list[str]
) -> None:
    root = project(tmp_path, scenes)
    give(root, known)
    _, card = make(root, **FETCH)
    mapped = network.load(root / TEACHER / "weights.pt")
    assert card["classes"] == network.class_names(mapped) == CLASSES
    assert card["sha256"] == files.sha256(root / TEACHER / "weights.pt")
    expected = logits(network.load(root / GIVEN), scenes)[..., [known.index(name) for name in CLASSES]]
    assert torch.equal(logits(mapped, scenes), expected)


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        (["cat", "dog"], r"the dataset's \['zero', 'one'.*its classes are \['cat', 'dog'\]"),
        (CLASSES[:-1], r"the dataset's \['nine'\]"),
        ([name.title() for name in CLASSES], r"the dataset's \['zero'.*names are compared exactly"),
        ([*CLASSES, "two"], r"the dataset's \['two'\]"),
    ],
    ids=["others", "fewer", "capitals", "twice"],
)
def test_a_fetched_teacher_that_lacks_a_class_is_refused(
    tmp_path: Path, scenes: Path, known: list[str], missing: str
) -> None:
    root = project(tmp_path, scenes)
    give(root, known)
    with pytest.raises(DataError, match=missing):
        make(root, **FETCH)


def test_a_teacher_to_fine_tune_may_know_other_classes(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root, ["cat", "dog"])
    assert make(root)[1]["classes"] == CLASSES


@pytest.mark.parametrize("source", ["train", "fetch"])
def test_a_teacher_of_another_task_is_refused_by_what_it_is(tmp_path: Path, scenes: Path, source: str) -> None:
    root = project(tmp_path, scenes)
    (root / GIVEN).parent.mkdir(parents=True, exist_ok=True)
    model = SegmentationModel("yolo26n-seg.yaml", verbose=False)
    torch.save({"model": model, "train_args": {}}, root / GIVEN)
    index(root)
    with pytest.raises(DataError, match=r"SegmentationModel \(yolo26n-seg\); give a YOLO26, YOLO11 or YOLOv8 detector"):
        make(root, **section(source=source, weights="s3://bucket/a.pt"))


@pytest.mark.parametrize("source", ["train", "fetch"])
def test_weights_that_params_yaml_does_not_pin_are_refused(tmp_path: Path, scenes: Path, source: str) -> None:
    root = project(tmp_path, scenes)
    give(root)
    with pytest.raises(IntegrityError, match=r"params\.yaml says 000000000000"):
        make(root, **section(source=source, weights="s3://bucket/a.pt", sha256="0" * 64))


def test_weights_that_changed_since_the_snapshot_are_refused(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root)
    with (root / GIVEN).open("ab") as file:
        file.write(b"more")
    with pytest.raises(IntegrityError, match="the index says"):
        make(root)


def test_fetching_without_weights_is_refused(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    with pytest.raises(DataError, match="holds no weights"):
        make(root, **section(source="fetch", weights="a.pt"))
