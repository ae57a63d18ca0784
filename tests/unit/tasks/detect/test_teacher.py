from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import CLASSES, NETWORK, out, params, project

from alambique import files
from alambique.errors import DataError, IntegrityError
from alambique.tasks.detect import network
from alambique.tasks.detect.teacher import teacher


def give(root: Path, classes: list[str] = CLASSES) -> str:
    """Put weights into inputs/teacher, as `snapshot` does; returns their sha256."""
    path = root / "inputs/teacher/weights.pt"
    network.save(network.build(NETWORK, classes, 7), path, image_size=64)
    digest = files.sha256(path)
    files.write_json(path.parent / "index.json", {"uri": "s3://bucket/a.pt", "sha256": digest, "file": "weights.pt"})
    return digest


def section(**changes: object) -> dict[str, object]:
    return {"teacher": {"network": NETWORK.model_dump(), "epochs": 1, **changes}}


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_teacher_is_trained_from_scratch_where_none_is_given(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    metrics = teacher(root, params(), out(root, "models/teacher"))
    card = files.read_json(root / "models/teacher/card.json")
    assert (card["kind"], card["source"], card["classes"]) == ("teacher", None, CLASSES)
    assert metrics["parameters"] == card["parameters"]
    assert (root / "models/teacher/curves.csv").read_text().startswith("epoch,box_loss,")


def test_a_given_teacher_is_where_training_starts(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root)
    still = {"batch": 8, "learning_rate": 1e-12}  # so that the end of the training tells of its start
    teacher(root, params(training=still), out(root, "models/teacher"))
    trained = network.load(root / "models/teacher/weights.pt")
    given = network.load(root / "inputs/teacher/weights.pt")
    torch.testing.assert_close(weights(trained), weights(given), atol=1e-3, rtol=1e-3)
    assert files.read_json(root / "models/teacher/card.json")["source"] == "s3://bucket/a.pt"


def test_a_fetched_teacher_is_taken_as_it_is(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    digest = give(root)
    fetch = section(source="fetch", weights="s3://bucket/a.pt", sha256=digest)
    teacher(root, params(**fetch), out(root, "models/teacher"))
    assert files.read_json(root / "models/teacher/card.json")["sha256"] == digest
    assert files.sha256(root / "models/teacher/weights.pt") == digest


def test_a_teacher_of_other_classes_is_refused_by_both_lists(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root, ["cat", "dog"])
    fetch = section(source="fetch", weights="s3://bucket/a.pt")
    with pytest.raises(DataError, match=r"\['cat', 'dog'\].*\['zero', 'one'"):
        teacher(root, params(**fetch), out(root, "models/teacher"))


@pytest.mark.parametrize("source", ["train", "fetch"])
def test_weights_that_params_yaml_does_not_pin_are_refused(tmp_path: Path, scenes: Path, source: str) -> None:
    root = project(tmp_path, scenes)
    give(root)
    pinned = section(source=source, weights="s3://bucket/a.pt", sha256="0" * 64)
    with pytest.raises(IntegrityError, match=r"params\.yaml says 000000000000"):
        teacher(root, params(**pinned), out(root, "models/teacher"))


def test_weights_that_changed_since_the_snapshot_are_refused(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    give(root)
    with (root / "inputs/teacher/weights.pt").open("ab") as file:
        file.write(b"more")
    with pytest.raises(IntegrityError, match="the index says"):
        teacher(root, params(), out(root, "models/teacher"))


def test_fetching_without_weights_is_refused(tmp_path: Path, scenes: Path) -> None:
    root = project(tmp_path, scenes)
    with pytest.raises(DataError, match="holds no weights"):
        teacher(root, params(**section(source="fetch", weights="a.pt")), out(root, "models/teacher"))
