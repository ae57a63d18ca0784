"""Datasets in the forms that people bring: what Ultralytics' own reader takes is taken alike, all else is named."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from alambique.data import manifest
from alambique.data.dataset import Dataset, image_files
from alambique.data.import_dataset import import_dataset
from alambique.errors import DataError
from alambique.tasks.images.preprocess import read

SPLITS = ("train", "val", "test")


def rewrite(dataset: Path, **changes: object) -> None:
    """Replace keys of data.yaml; None takes one out."""
    file = dataset / "data.yaml"
    content = {**yaml.safe_load(file.read_text()), **changes}
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))


def labels(dataset: Path, split: str = "train") -> list[Path]:
    return sorted((dataset / "labels" / split).glob("*.txt"))


def as_they_are(dataset: Path) -> None:
    """Nothing is changed."""


def names_by_text(dataset: Path) -> None:
    names = yaml.safe_load((dataset / "data.yaml").read_text())["names"]
    rewrite(dataset, names={str(index): name for index, name in names.items()})


def validation(dataset: Path) -> None:
    rewrite(dataset, val=None, validation="images/val")


def byte_order_marks(dataset: Path) -> None:
    for path in [*labels(dataset), dataset / "data.yaml"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def repeated_rows(dataset: Path) -> None:
    for path in labels(dataset):
        path.write_text(path.read_text() + path.read_text())


def outlines(dataset: Path) -> None:
    """Each box as a polygon of five points around it."""
    for split in SPLITS:
        for path in labels(dataset, split):
            rows = []
            for line in path.read_text().splitlines():
                index, x, y, w, h = map(float, line.split())
                a, b, c, d = x - w / 2, y - h / 2, x + w / 2, y + h / 2
                rows.append(f"{int(index)} {a} {b} {c} {b} {c} {y} {c} {d} {a} {d}\n")
            path.write_text("".join(rows))


def linked_images(dataset: Path) -> None:
    """Each image of train is a link into a store."""
    (dataset / "store").mkdir()
    for path in image_files(dataset / "images/train"):
        stored = dataset / "store" / f"blob-{path.name}"
        path.rename(stored)
        path.symlink_to(stored)


def linked_folder(dataset: Path) -> None:
    (dataset / "images").rename(dataset / "elsewhere")
    (dataset / "images").symlink_to(dataset / "elsewhere")


def listed(dataset: Path) -> None:
    """Splits as lists of files, whose lines begin with ./, images being links."""
    linked_images(dataset)
    for split in SPLITS:
        names = [f"./images/{split}/{path.name}\n" for path in image_files(dataset / "images" / split)]
        (dataset / f"{split}.txt").write_text("".join(names))
    rewrite(dataset, **{split: f"{split}.txt" for split in SPLITS})


def hidden_copies(dataset: Path) -> None:
    first = image_files(dataset / "images/train")[0]
    (dataset / "images/train/.ipynb_checkpoints").mkdir()
    shutil.copy(first, dataset / "images/train/.ipynb_checkpoints/copy-checkpoint.png")


TAKEN = (
    as_they_are,
    names_by_text,
    validation,
    byte_order_marks,
    repeated_rows,
    outlines,
    linked_images,
    listed,
    hidden_copies,
)


def by_ultralytics(dataset: Path, split: str) -> tuple[int, int]:
    """Images and boxes of a split, as Ultralytics reads them for training."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(dataset / "data.yaml"), autodownload=False)
    read = YOLODataset(img_path=data[split], data=data, augment=False, imgsz=64)
    return len(read.labels), sum(len(label["cls"]) for label in read.labels)


@pytest.mark.parametrize("form", TAKEN, ids=lambda form: form.__name__)
def test_a_form_is_taken_as_ultralytics_takes_it(
    form: Callable[[Path], None], dataset: Path, scenes: Path, tmp_path: Path
) -> None:
    form(dataset)
    import_dataset(str(dataset), tmp_path / "imported")
    imported, plain = Dataset.load(tmp_path / "imported"), Dataset.load(scenes)
    for split in SPLITS:
        boxes = [imported.boxes(image) for image in imported.images(split)]
        assert (len(boxes), sum(map(len, boxes))) == by_ultralytics(dataset, split)
        for found, expected in zip(boxes, map(plain.boxes, plain.images(split)), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_labels_of_a_linked_folder_of_images_are_found(dataset: Path, scenes: Path, tmp_path: Path) -> None:
    """Ultralytics looks for them beside what the link leads to, and trains on background."""
    linked_folder(dataset)
    import_dataset(str(dataset), tmp_path / "imported")
    assert Dataset.load(tmp_path / "imported").digest("train") == Dataset.load(scenes).digest("train")


def renamed(suffix: str) -> Callable[[Path], None]:
    def rename(dataset: Path) -> None:
        for path in image_files(dataset / "images/train")[:3]:
            path.rename(path.with_suffix(suffix))

    return rename


def labels_beside(dataset: Path) -> None:
    for path in labels(dataset)[:2]:
        path.rename(dataset / "images/train" / path.name)


def both_names(dataset: Path) -> None:
    rewrite(dataset, validation="images/val")


def foreign_file(dataset: Path) -> None:
    (dataset / "secret.pem").write_text("x")
    (dataset / "train.txt").write_text("./images/train/../../secret.pem\n")
    rewrite(dataset, train="train.txt")


def gbk(dataset: Path) -> None:
    file = dataset / "data.yaml"
    file.write_bytes(file.read_bytes() + "# 数字\n".encode("gbk"))


def impossible_date(dataset: Path) -> None:
    file = dataset / "data.yaml"
    file.write_text(file.read_text() + "date: 2026-02-31\n")


def nested(dataset: Path) -> None:
    file = dataset / "data.yaml"
    file.write_text(file.read_text() + "deep: " + "[" * 10_000 + "]" * 10_000)


def aliases(dataset: Path) -> None:
    """A class name of 9⁸ letters, by 400 bytes."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    file = dataset / "data.yaml"
    file.write_text("\n".join(rows) + "\nnames: [*a8]\n" + file.read_text().split("names:")[0])


def named_twice(dataset: Path) -> None:
    rewrite(dataset, names=["a", "b", "a"])


def nameless(dataset: Path) -> None:
    rewrite(dataset, names=["a", None, "c"])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (renamed(".avif"), r"3 images of formats that are not taken \(\.avif\)"),
        (renamed(".jfif"), r"3 images of formats that are not taken \(\.jfif\)"),
        (renamed(".gif"), r"3 images of formats that are not taken \(\.gif\)"),
        (labels_beside, "lies beside its image"),
        (both_names, "both `val` and `validation`"),
        (foreign_file, r"train\.txt:1 lists .*secret\.pem, no image"),
        (gbk, r"data\.yaml is not UTF-8 text: byte \d+ is 0x"),
        (impossible_date, r"data\.yaml is not YAML: day is out of range"),
        (nested, "more than 200 brackets in one another"),
        (aliases, r"data\.yaml has aliases that come to more than .* write them out"),
        (named_twice, "classes 0 and 2 are both called 'a'"),
        (nameless, "class 1 is called None"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_would_be_lost_or_misread_is_refused(
    form: Callable[[Path], None], message: str, dataset: Path, tmp_path: Path
) -> None:
    form(dataset)
    with pytest.raises(DataError, match=message) as refusal:
        import_dataset(str(dataset), tmp_path / "imported")
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("name", "message"), [("data.zip", "unpack it"), ("train.json", "cannot be read as JSON"), ("x.csv", "no .yaml")]
)
def test_another_file_than_a_data_yaml_is_named_for_what_it_is(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError, match=message):
        import_dataset(str(tmp_path / name), tmp_path / "imported")


def test_an_upper_case_suffix_of_a_label_file_is_found(dataset: Path, tmp_path: Path) -> None:
    for path in labels(dataset):
        path.rename(path.with_suffix(".TXT"))
    import_dataset(str(dataset), tmp_path / "imported")
    assert len(labels(tmp_path / "imported")) == 24


def test_what_is_left_out_is_said(dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(dataset / "images/val", dataset / "images/minival")
    (dataset / "labels/train/orphan.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    rewrite(dataset, minival="images/minival")
    with caplog.at_level(logging.WARNING):
        import_dataset(str(dataset), tmp_path / "imported")
    said = [record.getMessage() for record in caplog.records]
    assert any("minival: 8 images are left out" in line for line in said)
    assert any("1 label files have no image" in line and "orphan.txt" in line for line in said)


def png_of_16_bit_colours(path: Path) -> None:
    """Pillow writes none."""
    import cv2

    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 4096, (20, 20, 3), np.uint16))


def pages(path: Path) -> None:
    first, *others = [Image.fromarray(np.full((20, 20, 3), value, np.uint8)) for value in (0, 100, 200)]
    first.save(path, save_all=True, append_images=others)


@pytest.mark.parametrize(
    ("name", "write", "lost"),
    [
        ("colour.png", png_of_16_bit_colours, "16 bits a channel, mode RGB"),
        ("colour.tiff", png_of_16_bit_colours, "16 bits a channel"),
        ("grey.png", lambda path: Image.fromarray(np.full((20, 20), 900, np.uint16)).save(path), "16 bits a channel"),
        ("film.webp", pages, "3 pages or frames"),
        ("scan.tif", pages, "3 pages or frames"),
        ("film.png", pages, "3 pages or frames"),
    ],
)
def test_images_of_which_values_would_be_lost_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], None], lost: str
) -> None:
    write(tmp_path / name)
    assert lost in manifest.image_facts(tmp_path / name)["lost_values"]
    with pytest.raises(DataError, match=lost):
        read(tmp_path / name)


def test_a_phone_s_picture_in_two_parts_is_read_as_any_jpeg(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((20, 20, 3), value, np.uint8)) for value in (50, 200))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    facts = manifest.image_facts(tmp_path / "phone.jpg")
    assert facts["readable"]
    assert facts["lost_values"] is None
    assert read(tmp_path / "phone.jpg").getpixel((0, 0)) == (50, 50, 50)


@pytest.mark.parametrize(
    ("name", "pixels", "mode", "kind", "readable"),
    [
        ("float.tiff", np.random.default_rng(0).random((20, 20), np.float32), None, None, True),  # but it loses values
        ("deep.png", np.arange(400, dtype=np.uint16).reshape(20, 20) * 160, None, None, True),
        ("ink.jpg", np.zeros((20, 20, 4), np.uint8), "CMYK", None, True),
        ("lab.tiff", np.zeros((20, 20, 3), np.uint8), "LAB", None, False),  # no near-duplicate of it could be told
        ("really-tga.png", np.zeros((20, 20, 3), np.uint8), None, "TGA", False),
        ("really-jpeg.png", np.zeros((20, 20, 3), np.uint8), None, "JPEG", True),
    ],
)
def test_an_image_is_readable_if_training_reads_it(
    tmp_path: Path, name: str, pixels: np.ndarray, mode: str | None, kind: str | None, readable: bool
) -> None:
    Image.fromarray(pixels, mode=mode).save(tmp_path / name, format=kind)
    assert manifest.image_facts(tmp_path / name)["readable"] == readable
