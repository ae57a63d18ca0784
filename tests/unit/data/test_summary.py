from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.data import summary
from alambique.data.deduplicate import drop_copies
from alambique.data.manifest import build
from alambique.errors import ConfigurationError
from alambique.tasks.images.contract import facts as image_facts
from alambique.tasks.images.dataset import Dataset as Classified
from alambique.tasks.transformers import contract
from alambique.tasks.transformers.dataset import Text, Texts, write
from alambique.tasks.yolo.dataset import YoloDataset


def odd(dataset: Path) -> str:
    return "\n".join(summary.lines(build(YoloDataset.load(dataset)).tables))


def test_every_split_and_class_is_counted(scenes: Path) -> None:
    lines = summary.lines(build(YoloDataset.load(scenes)).tables)
    assert lines[0] == "the dataset:"
    assert lines[1].startswith("  train: 24 images, ")
    assert "  unlabelled: 8 images" in lines
    assert "  boxes of each class in train, val, test:" in lines
    assert any(line.startswith("    zero: ") for line in lines)


def test_what_looks_odd_is_named(dataset: Path) -> None:
    images, labels = dataset / "images/train", dataset / "labels/train"
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(images / "00000.png")
    shutil.copyfile(images / "00002.png", images / "00001.png")
    for row in ("0 0.5 0.5 0.005 0.2\n", "0 0.5 0.5 0.005 0.2\n"):
        with (labels / "00003.txt").open("a") as file:
            file.write(row)
    found = odd(dataset)
    assert "1 images have one value in all pixels: images/train/00000.png" in found
    assert "1 images are in their split more than once: images/train/00002.png" in found
    assert "1 label rows are in their file more than once and count once: images/train/00003.png" in found
    assert "1 boxes are less than a pixel wide or high: images/train/00003.png" in found


def test_a_class_without_a_box_is_named(dataset: Path) -> None:
    for path in (dataset / "labels/val").glob("*.txt"):
        path.write_text("".join(f"{row}\n" for row in path.read_text().splitlines() if not row.startswith("7 ")))
    assert "no boxes in val: " in odd(dataset)
    assert "seven" in odd(dataset).partition("no boxes in val: ")[2]


def classified(root: Path) -> Path:
    """Two images in each class and split; one of train's cats is among its dogs, too."""
    number = 0
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for _ in range(2):
                number += 1
                pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    shutil.copyfile(root / "images/train/cat/1.png", root / "images/train/dog/1.png")
    (root / "data.yaml").write_text(
        "{train: images/train, val: images/val, test: images/test, names: {0: cat, 1: dog}}"
    )
    return root


def test_an_image_in_two_classes_is_named(tmp_path: Path) -> None:
    tables = image_facts(Classified.load(classified(tmp_path)), 1).tables
    assert "2 images are in several classes by their bytes" in "\n".join(summary.lines(tables))


def test_one_copy_of_an_image_is_kept_in_test_rather_than_val_and_train(dataset: Path) -> None:
    shutil.copyfile(dataset / "images/test/00000.png", dataset / "images/train/00000.png")
    shutil.copyfile(dataset / "images/test/00000.png", dataset / "images/val/00001.png")
    shutil.copyfile(dataset / "images/val/00002.png", dataset / "images/unlabelled/00003.png")
    (line, *others) = drop_copies(dataset, build(YoloDataset.load(dataset)).tables)
    assert line == "1 images of train dropped: they are in test or val, too (images/train/00000.png)"
    assert len(others) == 2
    gone = ("images/train/00000.png", "images/val/00001.png", "images/unlabelled/00003.png", "labels/train/00000.txt")
    assert not any((dataset / path).exists() for path in gone)
    facts = build(YoloDataset.load(dataset))
    assert not facts.images["found_in"].str.contains(",").any()
    assert drop_copies(dataset, facts.tables) == []


def test_one_copy_of_a_text_is_kept(tmp_path: Path) -> None:
    def texts(*found: str) -> list[Text]:
        return [Text("", text) for text in found]

    splits = {"train": texts("a", "b", "a", "c", "d"), "val": texts("b", "e"), "test": texts("c", "f")}
    write(tmp_path / "data", splits, [])
    lines = drop_copies(tmp_path / "data", contract.facts(Texts.load(tmp_path / "data")).tables)
    assert lines == ["2 texts of train dropped: they are in test or val, too (train/000001, train/000003)"]
    data = Texts.load(tmp_path / "data")
    assert [line.text.text for line in data.lines("train") if line.text] == ["a", "a", "d"]
    assert "1 texts are in their split more than once: train/000001" in summary.lines(contract.facts(data).tables)[-1]


def test_a_task_that_does_not_tell_equal_samples_cannot_be_deduplicated(tmp_path: Path) -> None:
    assert summary.lines({}) == []
    with pytest.raises(ConfigurationError, match="--deduplicate"):
        drop_copies(tmp_path, {})
