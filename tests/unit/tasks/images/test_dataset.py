from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alambique.data.expectations import failures, judge
from alambique.demo.digits import Digits
from alambique.errors import DataError
from alambique.tasks.images.contract import facts
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.import_dataset import import_dataset


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Digits(train=20, val=10, test=10, unlabelled=3, size=24).write(tmp_path / "source")
    return tmp_path / "source"


def failed(data: Dataset, least: int = 1) -> list[str]:
    judged = facts(data, least)
    return failures(judge(judged.tables, judged.contract))


def test_folders_of_classes_are_taken_as_they_are(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), tmp_path / "data")
    data = Dataset.load(tmp_path / "data")
    assert data.classes == sorted(path.name for path in (source / "train").iterdir())
    assert [len(data.images(split)) for split in ("train", "val", "test", "unlabelled")] == [20, 10, 10, 3]
    for image in data.images("test"):
        assert data.classes[data.label(image)] == image.parent.name
    assert failed(data) == []
    counts = facts(data, 1).counts
    assert counts["images"] == {"train": 20, "val": 10, "test": 10, "unlabelled": 3}
    assert set(counts["classes"].values()) == {4}


def test_what_others_call_val_is_val(source: Path, tmp_path: Path) -> None:
    (source / "val").rename(source / "valid")
    (source / "train").rename(source / "training")
    import_dataset(str(source), tmp_path / "data")
    assert len(Dataset.load(tmp_path / "data").images("val")) == 10


def test_an_imported_dataset_can_be_imported(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), tmp_path / "data")
    import_dataset(str(tmp_path / "data"), tmp_path / "again")
    first, second = (Dataset.load(tmp_path / name) for name in ("data", "again"))
    assert [first.digest(split) for split in first.folders] == [second.digest(split) for split in second.folders]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_missing_split_is_named_with_what_to_do(source: Path, tmp_path: Path, split: str) -> None:
    shutil.rmtree(source / split)
    with pytest.raises(DataError, match=rf"no folder `{split}`.*move some images of each class to {split}/<class>"):
        import_dataset(str(source), tmp_path / "data")


def test_an_image_without_a_class_is_named(source: Path, tmp_path: Path) -> None:
    image = next((source / "val").rglob("*.png"))
    image.rename(source / "val" / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies in no folder of a class"):
        import_dataset(str(source), tmp_path / "data")


def test_whatever_breaks_the_contract_is_named(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), tmp_path / "data")
    images = tmp_path / "data/images"
    (images / "test/zero").rename(images / "test/nought")
    (images / "val/one/00001.png").write_bytes(b"no image")
    shutil.copy(images / "train/two/00002.png", images / "test/two/again.png")
    said = "\n".join(failed(Dataset.load(tmp_path / "data")))
    for words in (
        "test/nought/00000.png (class: nought)",
        "val/one/00001.png (readable: False)",
        "test/two/again.png (found_in: train, test)",
        "test/zero (images: 0)",
    ):
        assert words in said
    with pytest.raises(DataError, match="lies in the folder 'nought'"):
        Dataset.load(tmp_path / "data").label(images / "test/nought/00000.png")


def test_a_digest_tells_contents_classes_and_places(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), tmp_path / "data")
    before = Dataset.load(tmp_path / "data").digest("val")
    images = tmp_path / "data/images/val"
    (images / "one/00001.png").rename(images / "two/00001.png")
    assert Dataset.load(tmp_path / "data").digest("val") != before
