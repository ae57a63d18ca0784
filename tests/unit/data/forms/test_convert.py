"""Annotations of each tool become the same labels; what is left out, or cannot be taken, is named."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.factories import annotated

from alambique.data.dataset import Dataset, read_boxes
from alambique.data.import_dataset import import_dataset
from alambique.errors import DataError
from alambique.tasks.yolo.dataset import YoloDataset


def boxes_by_image(root: Path) -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """By split and stem, the boxes as class and rounded numbers."""
    data = Dataset.load(root)
    return {
        (split, image.stem): sorted((data.classes[int(i)], *(f"{v:.4f}" for v in b)) for i, *b in data.boxes(image))
        for split in data.folders
        for image in data.images(split)
    }


def expected() -> dict[tuple[str, str], list[tuple[str, ...]]]:
    width, height = annotated.SIZE
    return {
        (split, name[:4]): sorted(
            (c, *(f"{v:.4f}" for v in ((a + e) / 2 / width, (b + d) / 2 / height, (e - a) / width, (d - b) / height)))
            for c, (a, b, e, d) in found
        )
        for split, name, found in annotated.images()
    }


@pytest.mark.parametrize("form", annotated.FORMS)
def test_every_form_gives_the_same_boxes(form: str, tmp_path: Path) -> None:
    annotated.FORMS[form](tmp_path / "source")
    import_dataset(str(tmp_path / "source"), tmp_path / "data")
    assert boxes_by_image(tmp_path / "data") == expected()
    assert Dataset.load(tmp_path / "data").classes == annotated.CLASSES


def test_images_without_splits_are_parted_with_each_class_in_each_split(tmp_path: Path) -> None:
    annotated.without_splits(tmp_path / "source")
    import_dataset(str(tmp_path / "source/annotations.json"), tmp_path / "data")
    found, right = boxes_by_image(tmp_path / "data"), expected()
    assert {name: boxes for (_, name), boxes in found.items()} == {name: boxes for (_, name), boxes in right.items()}
    for split, count in (("train", 16), ("val", 2), ("test", 2)):
        images = [boxes for (of, _), boxes in found.items() if of == split]
        assert len(images) == count
        assert {box[0] for boxes in images for box in boxes} == {"cat", "dog"}


def test_a_missing_test_is_parted_off_train(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    annotated.coco(tmp_path / "source")
    (tmp_path / "source/annotations/instances_test2017.json").unlink()
    (tmp_path / "source/annotations/captions_test2017.json").unlink()
    import_dataset(str(tmp_path / "source"), tmp_path / "data")
    data = Dataset.load(tmp_path / "data")
    assert [len(data.images(split)) for split in ("train", "val", "test")] == [10, 4, 2]
    assert "names no test; train was parted" in caplog.text
    assert "4 images that no annotation names are left out: test2017/0016.png" in caplog.text


def test_outlines_and_keypoints_arrive(tmp_path: Path) -> None:
    annotated.coco(tmp_path / "source")
    import_dataset(str(tmp_path / "source"), tmp_path / "segment", "segment")
    outlines = YoloDataset.load(tmp_path / "segment", "segment").samples("train")[0].points[0]
    np.testing.assert_allclose(outlines, np.array([[4, 4], [24, 4], [24, 20], [4, 20]]) / annotated.SIZE, atol=1e-5)
    import_dataset(str(tmp_path / "source"), tmp_path / "pose", "pose")
    poses = YoloDataset.load(tmp_path / "pose", "pose")
    assert dict(poses.keypoints) == {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1]}
    np.testing.assert_allclose(
        poses.samples("train")[0].points[0], [[0.05, 0.1, 2], [0.3, 0.1, 1], [0, 0, 0]], atol=1e-5
    )


def changed(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """COCO without splits whose content was changed."""
    annotated.without_splits(annotated.clear(root))
    content = json.loads((root / "annotations.json").read_text())
    change(content)
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def crowd(content: dict[str, Any]) -> None:
    mask = {"size": [40, 80], "counts": [0, 3200]}
    content["annotations"].append({**content["annotations"][0], "iscrowd": 1, "segmentation": mask})


def flat(content: dict[str, Any]) -> None:
    content["annotations"][0] = {**content["annotations"][0], "bbox": [4, 4, 20, 0]}


def overshooting(content: dict[str, Any]) -> None:
    content["annotations"][0] = {**content["annotations"][0], "bbox": [70, 4, 20, 10]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (crowd, "1 left out: crowds (iscrowd)"),
        (flat, "1 left out: objects of which nothing"),
        (overshooting, "1 objects that overshot the image by more than a pixel were clipped"),
    ],
)
def test_what_is_left_out_is_said(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import_dataset(str(changed(tmp_path / "source", change)), tmp_path / "data")
    assert message in caplog.text
    for label in tmp_path.glob("data/labels/*/*.txt"):
        x, y, width, height = read_boxes(label)[:, 1:].T
        assert ((x - width / 2 > -1e-5) & (x + width / 2 < 1 + 1e-5) & (y + height / 2 < 1 + 1e-5)).all()


def absent(content: dict[str, Any]) -> None:
    content["images"].append({"id": 99, "file_name": "../../etc/9999.png", "width": 8, "height": 8})


def other_category(content: dict[str, Any]) -> None:
    content["annotations"][0]["category_id"] = 7


def two_names(content: dict[str, Any]) -> None:
    content["categories"][1]["name"] = content["categories"][0]["name"]


def turned_size(content: dict[str, Any]) -> None:
    content["images"][0] |= {"width": 40, "height": 80}


def not_a_number(content: dict[str, Any]) -> None:
    content["annotations"][0]["bbox"][0] = float("nan")


def no_file_name(content: dict[str, Any]) -> None:
    del content["images"][0]["file_name"]


def a_text(content: dict[str, Any]) -> None:
    content["annotations"][0] = "box"


def no_objects(content: dict[str, Any]) -> None:
    content["annotations"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (absent, "1 of 21 images that the COCO annotations name are not below .*9999.png of .*annotations.json"),
        (other_category, "annotation 0 is of category 7, which the file lacks"),
        (two_names, "two classes are called"),
        (turned_size, "0000.png is 80 × 40 pixels .upright., but 40 × 80"),
        (not_a_number, "annotations.json cannot be read as JSON: annotation 0: .*not finite"),
        (no_file_name, "`file_name` is missing"),
        (a_text, "annotations.json cannot be read as JSON: AttributeError"),
        (no_objects, "the COCO annotations hold no object"),
    ],
)
def test_broken_annotations_are_refused_in_one_line(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(str(changed(tmp_path / "source", change)), tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_boxes_are_no_outlines(tmp_path: Path) -> None:
    annotated.voc(tmp_path / "source")
    with pytest.raises(DataError, match="15 images have objects without an outline"):
        import_dataset(str(tmp_path / "source"), tmp_path / "data", "segment")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[", "a.json cannot be read as JSON"),
        ("a.json", '{"shapes": []}', "is no annotation file that is known"),
        ("a.json", "[" * 100_000, "a.json cannot be read as JSON"),
        ("a.json", "\ufffe", "cannot be read as JSON"),
        ("a.xml", "<annotation>", "a.xml cannot be read as XML"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares the document type 'a'"),
        ("a.xml", "<annotations><track/></annotations>", "CVAT for video"),
        ("a.xml", "<annotation><object/></annotation>", "<object> has no <name>"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(str(tmp_path / "source"), tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_a_large_file_takes_seconds(tmp_path: Path) -> None:
    def grow(content: dict[str, Any]) -> None:
        content["annotations"] = [{**item, "id": n} for n in range(2000) for item in content["annotations"]]

    source = changed(tmp_path / "source", grow)
    assert (source / "annotations.json").stat().st_size > 6_000_000
    start = time.perf_counter()
    import_dataset(str(source), tmp_path / "data")
    assert time.perf_counter() - start < 30  # a second on a machine that does nothing else


def test_a_summary_names_the_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    annotated.cvat(tmp_path / "source")
    import_dataset(str(tmp_path / "source"), tmp_path / "data")
    assert "is taken as CVAT, 1 file(s): images train 12, val 4, test 4" in caplog.text
