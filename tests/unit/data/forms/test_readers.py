"""What single readers do with the shapes that only their format has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories import annotated

from alambique.data.dataset import Dataset, read_boxes
from alambique.data.forms import coco
from alambique.data.forms.splits import split_in, stratified
from alambique.data.import_dataset import import_dataset
from alambique.errors import DataError

WIDTH, HEIGHT = annotated.SIZE


def imported(source: Path, target: Path, head: str = "detect") -> dict[str, str]:
    """The label files by stem."""
    import_dataset(str(source), target, head)
    return {path.stem: path.read_text() for path in target.glob("labels/*/*.txt")}


def draw(root: Path, count: int) -> None:
    for number in range(count):
        annotated.draw(root / f"{number:04d}.png")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("valid", "val"),
        ("Test", "test"),
        ("_annotations.coco", None),
        ("train_val", None),
        ("instances_default", None),
        ("strain", None),
    ],
)
def test_splits_are_words_of_names(name: str, split: str | None) -> None:
    assert split_in(name) == split


def test_a_rare_class_is_in_every_split_and_equal_images_in_one() -> None:
    groups = {f"{n:03d}": ["rare"] if n % 33 == 0 else ["common"] if n % 3 else [] for n in range(100)}
    places = stratified(groups, {"train": 0.8, "val": 0.1, "test": 0.1})
    assert places == stratified(dict(reversed(groups.items())), {"train": 0.8, "val": 0.1, "test": 0.1})
    for split, least, most in (("train", 78, 82), ("val", 9, 11), ("test", 9, 11)):
        keys = [key for key, place in places.items() if place == split]
        assert least <= len(keys) <= most
        assert any(groups[key] == ["rare"] for key in keys)


def test_masks_in_run_lengths_become_outlines() -> None:
    """A square from (2, 1) to (5, 4) in 6 rows and 8 columns, column by column."""
    counts = [13, 4, 2, 4, 2, 4, 2, 4, 13]
    outline = coco.mask_outlines({"size": [6, 8], "counts": counts})
    assert [part.tolist() for part in outline] == [[[2, 1], [2, 4], [5, 4], [5, 1]]]
    text = "=4200000;"  # the same, with differences from the fourth on
    assert [part.tolist() for part in coco.mask_outlines({"size": [6, 8], "counts": text})] == [
        part.tolist() for part in outline
    ]
    with pytest.raises(ValueError, match="run lengths of 6 pixels for a mask of 8 × 6"):
        coco.mask_outlines({"size": [6, 8], "counts": [6]})


def test_difficult_objects_of_voc_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    annotated.labelimg(tmp_path / "source")
    file = tmp_path / "source/train/0001.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    assert len(imported(tmp_path / "source", tmp_path / "data")["0001"].splitlines()) == 1
    assert "1 left out: objects marked difficult" in caplog.text


def test_one_stem_in_two_splits_of_voc_is_refused(tmp_path: Path) -> None:
    annotated.voc(tmp_path / "source")
    with (tmp_path / "source/ImageSets/Main/val.txt").open("a") as file:
        file.write("0000\n")
    with pytest.raises(DataError, match=r"val.txt lists 0000, which train lists, too"):
        imported(tmp_path / "source", tmp_path / "data")


def cvat(root: Path, shapes: str, labels: str = "<label><name>cat</name></label>", count: int = 6) -> None:
    draw(root / "images", count)
    images = "".join(
        f'<image id="{n}" name="{n:04d}.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>' for n in range(count)
    )
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f"<annotations><version>1.1</version>{meta}{images}</annotations>")


def test_turned_boxes_of_cvat_keep_their_corners_for_obb_and_their_extent_for_detect(tmp_path: Path) -> None:
    box = '<box label="cat" xtl="20" ytl="15" xbr="40" ybr="25" rotation="90"/>'
    cvat(tmp_path / "source", box)
    row = imported(tmp_path / "source", tmp_path / "obb", "obb")["0000"].split()
    corners = np.array(row[1:], float).reshape(4, 2) * (WIDTH, HEIGHT)
    np.testing.assert_allclose(corners, [[35, 10], [35, 30], [25, 30], [25, 10]], atol=1e-3)
    imported(tmp_path / "source", tmp_path / "detect")
    (label,) = tmp_path.glob("detect/labels/*/0000.txt")
    np.testing.assert_allclose(read_boxes(label)[0, 1:] * np.tile((WIDTH, HEIGHT), 2), [30, 20, 10, 20], atol=1e-3)


def test_skeletons_of_cvat_become_poses(tmp_path: Path) -> None:
    names = ("nose", "left_ear", "right_ear")
    points = "".join(f"<label><name>{name}</name><type>points</type><parent>cat</parent></label>" for name in names)
    skeleton = (
        '<skeleton label="cat"><points label="right_ear" outside="0" occluded="1" points="40.0,10.0"/>'
        '<points label="nose" outside="0" occluded="0" points="20.0,30.0"/>'
        '<points label="left_ear" outside="1" occluded="0" points="1.0,1.0"/></skeleton>'
    )
    cvat(tmp_path / "source", skeleton, f"<label><name>cat</name><type>skeleton</type></label>{points}")
    row = [float(number) for number in imported(tmp_path / "source", tmp_path / "data", "pose")["0000"].split()]
    assert row == [0, 0.375, 0.5, 0.25, 0.5, 0.25, 0.75, 2, 0, 0, 0, 0.5, 0.25, 1]


def test_shapes_of_cvat_that_are_no_objects_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cvat(tmp_path / "source", '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/><polyline label="cat" points="1,1"/>')
    imported(tmp_path / "source", tmp_path / "data")
    assert "6 left out: shapes <polyline>" in caplog.text


def test_polygons_of_label_studio_are_percentages(tmp_path: Path) -> None:
    draw(tmp_path / "source", 6)
    value = {"points": [[10, 20], [50, 20], [50, 80]], "polygonlabels": ["cat"]}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    result = {"type": "polygonlabels", "value": value, **size}
    tasks = [
        {"id": n, "data": {"image": f"s3://b/{n:04d}.png"}, "annotations": [{"result": [result]}]} for n in range(5)
    ]
    tasks.append({"id": 5, "data": {"image": "/data/local-files/?d=a%2F0005.png"}, "annotations": []})
    (tmp_path / "source/export.json").write_text(json.dumps(tasks))
    labels = imported(tmp_path / "source", tmp_path / "data", "segment")
    assert labels["0000"] == "0 0.100000 0.200000 0.500000 0.200000 0.500000 0.800000\n"
    data = Dataset.load(tmp_path / "data")
    assert [image.name for image in data.images("unlabelled")] == ["0005.png"]
    assert "0005" not in labels


def test_json_min_of_label_studio(tmp_path: Path) -> None:
    draw(tmp_path / "source", 6)
    shape = {"x": 10, "y": 20, "width": 40, "height": 60, "rotation": 0, "rectanglelabels": ["cat"]}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    tasks = [{"id": n, "image": f"/data/upload/1/{n:04d}.png", "label": [{**shape, **size}]} for n in range(6)]
    (tmp_path / "source/min.json").write_text(json.dumps(tasks))
    assert set(imported(tmp_path / "source", tmp_path / "data").values()) == {"0 0.300000 0.500000 0.400000 0.600000\n"}


def yolo_without_a_description(root: Path) -> None:
    """As Label Studio exports YOLO: classes.txt, notes.json, images, labels; a folder for each split."""
    for split, name, found in annotated.images():
        annotated.draw(root / "images" / split / name)
        shares = [
            (annotated.CLASSES.index(c), (a + e) / 2 / WIDTH, (b + d) / 2 / HEIGHT, (e - a) / WIDTH, (d - b) / HEIGHT)
            for c, (a, b, e, d) in found
        ]
        rows = [" ".join(map(str, row)) for row in shares]
        label = root / "labels" / split / f"{name[:4]}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("\n".join(rows))
    (root / "classes.txt").write_text("cat\ndog\n")
    annotated.write_json(root / "notes.json", {"categories": []})


def test_labels_of_yolo_with_a_list_of_classes_are_taken(tmp_path: Path) -> None:
    yolo_without_a_description(tmp_path / "source")
    labels = imported(tmp_path / "source", tmp_path / "data")
    assert labels["0000"] == "0 0.175000 0.300000 0.250000 0.400000\n"
    assert len(labels) == 20
    data = Dataset.load(tmp_path / "data")
    assert {split: len(data.images(split)) for split in data.folders} == annotated.SPLITS
    (tmp_path / "source/labels/train/0000.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"0000.txt:1: expected .* of one of the 2 classes of classes.txt, got '2 0.5"):
        imported(tmp_path / "source", tmp_path / "again")


def test_a_photo_taken_sideways_keeps_its_labels(tmp_path: Path) -> None:
    yolo_without_a_description(tmp_path / "source")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    photo = tmp_path / "source/images/train/0000.png"
    Image.open(photo).save(photo, exif=exif)
    assert imported(tmp_path / "source", tmp_path / "data")["0000"] == "0 0.175000 0.300000 0.250000 0.400000\n"


def test_folders_of_images_name_the_splits_of_one_file(tmp_path: Path) -> None:
    for split, name, _ in annotated.images():
        annotated.draw(tmp_path / "source/images" / split / name)
    annotated.write_json(tmp_path / "source/annotations.json", annotated.coco_content())
    imported(tmp_path / "source", tmp_path / "data")
    data = Dataset.load(tmp_path / "data")
    assert {split: len(data.images(split)) for split in data.folders} == annotated.SPLITS


def test_two_labels_on_one_shape_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "source", 6)
    shape = {"x": 10, "y": 20, "width": 40, "height": 60, "rectanglelabels": ["cat", "dog"]}
    (tmp_path / "source/min.json").write_text(json.dumps([{"id": 1, "image": "0000.png", "label": [shape]}]))
    with pytest.raises(DataError, match="a shape has 2 labels"):
        imported(tmp_path / "source", tmp_path / "data")


def test_an_image_in_two_files_is_refused(tmp_path: Path) -> None:
    annotated.coco(tmp_path / "source")
    annotated.write_json(tmp_path / "source/annotations/train_old.json", annotated.coco_content("train"))
    with pytest.raises(DataError, match=r"is named twice, by .*instances_train2017.json and .*train_old.json"):
        imported(tmp_path / "source", tmp_path / "data")


def test_two_images_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    annotated.coco(tmp_path / "source")
    annotated.draw(tmp_path / "source/val2017/0000.png")
    import_dataset(str(tmp_path / "source"), tmp_path / "data")
    assert len(Dataset.load(tmp_path / "data").images("train")) == annotated.SPLITS["train"]
    (tmp_path / "source/train2017/0000.png").rename(tmp_path / "source/val2017/more.png")
    (tmp_path / "source/a").mkdir()
    (tmp_path / "source/val2017/0000.png").rename(tmp_path / "source/a/0000.png")
    (tmp_path / "source/b").mkdir()
    annotated.draw(tmp_path / "source/b/0000.png")
    with pytest.raises(DataError, match=r"names 0000.png, which may be .*/[ab]/0000.png or .*/[ab]/0000.png"):
        import_dataset(str(tmp_path / "source"), tmp_path / "again")
