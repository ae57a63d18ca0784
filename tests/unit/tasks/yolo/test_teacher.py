from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from factories.stage_work import teacher
from factories.tiny_detection import CLASSES, NETWORK, out, params, project
from ultralytics.nn.tasks import DetectionModel, SegmentationModel

from alambique import files, tasks
from alambique.errors import DataError, IntegrityError
from alambique.tasks.yolo import class_selection, network, widths
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
    return {"teacher": {"main": {"network": NETWORK.model_dump(), "steps": 3, **changes}}}


FETCH = section(source="fetch", weights="s3://bucket/a.pt")


class TeacherRun(NamedTuple):
    """What the stage gave; see `make`."""

    root: Path
    metrics: dict[str, Any]
    card: dict[str, Any]


def make(root: Path, **changes: Any) -> TeacherRun:
    """Run the stage with other parameters."""
    metrics = teacher(root, params(**changes), "main", out(root, TEACHER))
    return TeacherRun(root, metrics, files.read_json(root / TEACHER / "card.json"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> TeacherRun:
    """A teacher from scratch. Read-only."""
    return make(project(tmp_path_factory.mktemp("trained"), scenes))


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> TeacherRun:
    """A pruned student, fetched as a teacher. Read-only."""
    root = project(tmp_path_factory.mktemp("fetched"), scenes)
    student = network.build(NETWORK, CLASSES, 7)
    plans = widths.narrowings(widths.widths(student))
    network.save(widths.build(student, plans[len(plans) // 3]), root / GIVEN, image_size=64)
    return make(root, **section(source="fetch", weights="s3://bucket/a.pt", sha256=index(root)))


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_teacher_is_trained_from_scratch_where_none_is_given(trained: TeacherRun) -> None:
    card = trained.card
    assert (card["kind"], card["source"], card["classes"]) == ("teacher", None, CLASSES)
    assert trained.metrics["parameters"] == card["parameters"]
    assert (trained.root / TEACHER / "curves.csv").read_text().startswith("step,box_loss,")


def test_a_given_teacher_of_other_classes_is_where_training_starts(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root, ["cat", "dog"])
    still = {"batch": 8, "learning_rate": 1e-12}  # so that the end of the training tells of its start
    card = make(root, training=still).card
    after, given = network.load(root / TEACHER / "weights.pt"), network.load(root / GIVEN)
    assert after.model[-1].nc == len(CLASSES)
    for part in (lambda model: model.model[:-1], lambda model: model.model[-1].cv2):  # all but what tells classes apart
        torch.testing.assert_close(weights(part(after)), weights(part(given)), atol=1e-3, rtol=1e-3)
    assert card["source"] == "s3://bucket/a.pt"
    assert card["classes"] == network.class_names(after) == CLASSES


def test_a_fetched_teacher_is_taken_as_it_is_even_where_it_was_pruned(fetched: TeacherRun) -> None:
    given = fetched.root / GIVEN
    assert fetched.card["sha256"] == files.sha256(given) == files.sha256(fetched.root / TEACHER / "weights.pt")
    pruned, whole = (network.parameters(model) for model in (network.load(given), network.build(NETWORK, CLASSES, 7)))
    assert fetched.card["parameters"] == pruned < whole


@pytest.mark.parametrize("name", ["trained", "fetched"])
def test_the_card_tells_how_good_the_teacher_is_on_val(name: str, request: pytest.FixtureRequest) -> None:
    root, metrics, card = request.getfixturevalue(name)
    measured = tasks.load("detect").measure_val(root / TEACHER, YoloDataset.load(root / "data"), params())
    assert card["val_map50_95"] == metrics["val_map50_95"] == measured["map50_95"]
    assert card["val_ap"] == measured["ap"]
    assert list(card["val_ap"]) == sorted(CLASSES)
    assert 0 <= card["val_map50_95"] < 0.5


def logits(model: DetectionModel, scenes: Path) -> torch.Tensor:
    image = next(iter(YoloDataset.load(scenes).images("val")))
    return predict_raw(model.eval(), torch.from_numpy(preprocess(image, 64)[0]))[1]


def test_a_fetched_teacher_of_reordered_classes_is_mapped_by_name(tmp_path: Path, scenes: Path) -> None:
    root, known = project(tmp_path, scenes), CLASSES[::-1]
    give(root, known)
    card = make(root, **FETCH).card
    mapped = network.load(root / TEACHER / "weights.pt")
    assert card["classes"] == network.class_names(mapped) == CLASSES
    assert card["sha256"] == files.sha256(root / TEACHER / "weights.pt")
    expected = logits(network.load(root / GIVEN), scenes)[..., [known.index(name) for name in CLASSES]]
    assert torch.equal(logits(mapped, scenes), expected)


def test_outputs_of_further_classes_are_dropped(scenes: Path) -> None:
    known = ["cat", *CLASSES[5:], "dog", *CLASSES[:5]]
    model = network.build(NETWORK, known, 7)
    expected = logits(model, scenes)[..., [known.index(name) for name in CLASSES]]
    assert network.class_names(class_selection.select(model, CLASSES)) == CLASSES
    assert torch.equal(logits(model, scenes), expected)


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
def test_a_fetched_teacher_that_lacks_a_class_is_refused(known: list[str], missing: str) -> None:
    with pytest.raises(DataError, match=missing):
        class_selection.select(network.build(NETWORK, known, 7), CLASSES)


def test_a_teacher_of_another_task_is_refused_by_what_it_is(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    (root / GIVEN).parent.mkdir(parents=True, exist_ok=True)
    model = SegmentationModel("yolo26n-seg.yaml", verbose=False)
    torch.save({"model": model, "train_args": {}}, root / GIVEN)
    index(root)
    with pytest.raises(DataError, match=r"SegmentationModel \(yolo26n-seg\); give a YOLO26, YOLO11 or YOLOv8 detector"):
        make(root, **FETCH)


def test_weights_that_params_yaml_does_not_pin_are_refused(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root)
    with pytest.raises(IntegrityError, match=r"params\.yaml says 000000000000"):
        make(root, **section(source="fetch", weights="s3://bucket/a.pt", sha256="0" * 64))


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


@pytest.mark.parametrize("source", ["train", "fetch"])
def test_a_teacher_that_a_student_cannot_start_from_is_refused_before_it_is_trained(
    tmp_path: Path, scenes: Path, source: str
) -> None:
    root = project(tmp_path, scenes)
    give(root)
    student = {"pico": {"family": "yolo26", "scale": [0.5, 0.25, 1024], "weights": "teacher"}}
    with pytest.raises(
        DataError, match=r"cannot be narrowed to the one configured .* has 8 channels, fewer than the 16"
    ):
        make(root, **section(source=source, weights="s3://bucket/a.pt"), networks=student)
    assert not (root / TEACHER / "weights.pt").exists() or source == "fetch"
