from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from alambique.errors import DataError
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.import_dataset import import_dataset

SPLITS = ("train", "val", "test")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for place, split in enumerate(SPLITS):
        for shade, name in enumerate(("cat", "dog")):
            folder = tmp_path / "source" / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (12, 12), (40 * place, 90 * shade, 30 * number)).save(folder / f"{number}.png")
    return tmp_path / "source"


def imported(source: Path) -> Dataset:
    target = source.parent / "data"
    shutil.rmtree(target, ignore_errors=True)
    import_dataset(str(source), target)
    return Dataset.load(target)


@pytest.mark.parametrize("name", ["dev", "Validation", "eval"])
def test_splits_have_the_names_that_people_give_them(source: Path, name: str) -> None:
    (source / "val").rename(source / name)
    shutil.copytree(source / "test/cat", source / "unlabeled")
    data = imported(source)
    assert [len(data.images(split)) for split in (*SPLITS, "unlabelled")] == [4, 4, 4, 2]


def test_two_folders_of_one_split_are_refused(source: Path) -> None:
    shutil.copytree(source / "val", source / "validation")
    with pytest.raises(DataError, match=r"val and .*validation are both val"):
        imported(source)


def test_what_tools_leave_behind_is_passed_over(source: Path, warned: list[str]) -> None:
    digests = [imported(source).digest(split) for split in SPLITS]
    for hidden in (source / "train/cat/.ipynb_checkpoints", source / "train/.ipynb_checkpoints", source / "__MACOSX"):
        shutil.copytree(source / "train/dog", hidden)
    (source / "train/__MACOSX").mkdir()
    for name in ("._0.png", ".DS_Store", "Thumbs.db"):
        (source / "test/dog" / name).write_bytes(b"\0")
    data = imported(source)
    assert [data.digest(split) for split in SPLITS] == digests
    assert data.classes == ["cat", "dog"]
    assert warned == []


def test_linked_folders_and_files_are_followed(source: Path, tmp_path: Path) -> None:
    digests = [imported(source).digest(split) for split in SPLITS]
    shutil.move(source / "train/cat", tmp_path / "store")
    (source / "train/cat").symlink_to(tmp_path / "store")
    (source / "train/cat/again").symlink_to(source / "train/cat")  # which would lead nowhere but here
    shutil.move(source / "val/dog/0.png", tmp_path / "0.png")
    (source / "val/dog/0.png").symlink_to(tmp_path / "0.png")
    assert [imported(source).digest(split) for split in SPLITS] == digests


def test_a_broken_link_is_named(source: Path) -> None:
    (source / "val/dog/9.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"9\.png links to nowhere\.png, which is not there"):
        imported(source)


@pytest.mark.parametrize("name", ["9.avif", "9.GIF", "9.heic", "9.svg", "9.jfif"])
def test_images_of_other_formats_are_named(source: Path, name: str) -> None:
    (source / "train/cat" / name).write_bytes(b"image")
    with pytest.raises(DataError, match=f"1 images in .*train are of a format that is not taken: .*{name}; convert"):
        imported(source)


def test_what_is_left_out_is_named(source: Path, warned: list[str]) -> None:
    (source / "train/cat/0.txt").write_text("a cat")
    (source / "labels.csv").write_text("id,label")
    shutil.copytree(source / "test", source / "holdout")
    imported(source)
    assert warned == [
        f"{source}: left out, being no folder named after a split: holdout, labels.csv",
        f"{source}/train: left out, being no images: cat/0.txt",
    ]


def test_splits_lie_in_images_or_beside_it(source: Path, warned: list[str]) -> None:
    digests = [imported(source).digest(split) for split in SPLITS]
    (source / "images").mkdir()
    assert [imported(source).digest(split) for split in SPLITS] == digests
    for split in SPLITS:
        (source / split).rename(source / "images" / split)
    (source / "unlabeled").mkdir()
    assert [imported(source).digest(split) for split in SPLITS] == digests
    assert {line.rpartition(": ")[2] for line in warned} == {"images", "unlabeled"}


def test_an_archive_unpacked_into_a_folder_of_its_name_is_found(source: Path) -> None:
    digests = [imported(source).digest(split) for split in SPLITS]
    (source / "train").rename(source / "inner")
    (source / "train").mkdir()
    (source / "inner").rename(source / "train/train")
    assert [imported(source).digest(split) for split in SPLITS] == digests


def test_a_file_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"data\.zip is a file, which may have to be unpacked first; give a folder"):
        import_dataset(str(tmp_path / "data.zip"), tmp_path / "data")
