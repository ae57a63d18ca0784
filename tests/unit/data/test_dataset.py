from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alambique.data.dataset import Dataset, class_names
from alambique.errors import DataError


def test_images_come_sorted_and_a_split_that_is_not_named_has_none(dataset: Path) -> None:
    data = Dataset.load(dataset)
    images = data.images("train")
    assert len(images) == 24
    assert images == sorted(images)
    assert data.has("unlabelled")
    assert not Dataset(dataset, data.classes, {}).images("train")


def test_boxes_are_class_centre_and_extent(dataset: Path) -> None:
    data = Dataset.load(dataset)
    image = data.images("val")[0]
    data.label(image).write_text("3 0.5 0.25 0.2 0.1\n\n7 0.1 0.1 0.1 0.1\n")
    expected = [[3, 0.5, 0.25, 0.2, 0.1], [7, 0.1, 0.1, 0.1, 0.1]]
    np.testing.assert_allclose(data.boxes(image), expected)


def test_an_image_without_a_label_file_is_background(dataset: Path) -> None:
    data = Dataset.load(dataset)
    assert data.boxes(data.images("unlabelled")[0]).shape == (0, 5)


@pytest.mark.parametrize(
    "row", ["0 0.5 0.5 0.5", "0 0.5 0.5 0.5 x", "0.5 0.5 0.5 0.5 0.5", "0 nan 0.5 0.5 0.5", "\xff"]
)
def test_a_broken_row_is_named_by_file_and_line(dataset: Path, row: str) -> None:
    data = Dataset.load(dataset)
    label = data.label(data.images("val")[2])
    label.write_bytes(f"0 0.5 0.5 0.5 0.5\n{row}\n".encode("latin-1"))
    with pytest.raises(DataError, match=f"{label}:2: expected"):
        data.boxes(data.images("val")[2])


def test_digest_follows_images_labels_and_class_names_of_its_own_split(dataset: Path) -> None:
    data = Dataset.load(dataset)
    before = {split: data.digest(split) for split in ("train", "val", "test")}
    assert before == {split: data.digest(split) for split in before}
    assert len(set(before.values())) == 3
    data.label(data.images("val")[0]).write_text("")
    assert data.digest("val") != before["val"]
    assert data.digest("train") == before["train"]
    data.images("test")[0].rename(dataset / "images/test/other.png")
    assert data.digest("test") != before["test"]
    assert Dataset(dataset, [*data.classes[1:], data.classes[0]], data.folders).digest("train") != before["train"]


def test_digest_does_not_depend_on_where_the_dataset_lies(dataset: Path, scenes: Path) -> None:
    assert Dataset.load(dataset).digest("train") == Dataset.load(scenes).digest("train")


def test_class_names_are_a_list_or_count_up_from_zero() -> None:
    source = Path("data.yaml")
    assert class_names(["a", "b"], source) == class_names({1: "b", 0: "a"}, source) == ["a", "b"]
    for wrong in (None, [], {1: "a"}, {0: "a", "x": "b"}, "a"):
        with pytest.raises(DataError, match="names"):
            class_names(wrong, source)


@pytest.mark.parametrize("folder", ["../images/train", "/images/train", "train/images"])
def test_a_layout_that_is_not_canonical_is_refused(dataset: Path, folder: str) -> None:
    (dataset / "data.yaml").write_text(f"train: {folder}\nnames: [a]\n")
    with pytest.raises(DataError, match="not a folder below images/"):
        Dataset.load(dataset)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read"), ("a: [", "is not YAML"), ("- a", "no mapping")]
)
def test_an_unusable_data_yaml_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=message):
        Dataset.load(tmp_path)
