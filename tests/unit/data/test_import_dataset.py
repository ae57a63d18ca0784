from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from alambique.data.dataset import Dataset
from alambique.data.import_dataset import import_dataset
from alambique.data.read_yolo import label_of
from alambique.errors import DataError


def rewrite(dataset: Path, **changes: object) -> Path:
    """The data.yaml of `dataset` with keys replaced, or removed where None."""
    file = dataset / "data.yaml"
    content = {**yaml.safe_load(file.read_text()), **changes}
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return file


def content_of(root: Path) -> dict[str, str]:
    data = Dataset.load(root)
    return {split: data.digest(split) for split in data.folders}


@pytest.fixture
def roboflow(dataset: Path) -> Path:
    """The same dataset as Roboflow exports it: <split>/images beside data.yaml, named ../<split>/images."""
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        for kind in ("images", "labels"):
            (dataset / name).mkdir(exist_ok=True)
            shutil.move(dataset / kind / split, dataset / name / kind)
    changes = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    names = list(yaml.safe_load((dataset / "data.yaml").read_text())["names"].values())
    rewrite(dataset, **changes, names=names, nc=10, roboflow={"version": 1})
    return dataset


def test_the_canonical_layout_arrives_as_it_is(scenes: Path, tmp_path: Path) -> None:
    import_dataset(str(scenes), tmp_path / "data")
    assert content_of(tmp_path / "data") == content_of(scenes)


def test_a_roboflow_export_arrives_in_the_canonical_layout(roboflow: Path, scenes: Path, tmp_path: Path) -> None:
    import_dataset(str(roboflow / "data.yaml"), tmp_path / "data")
    assert content_of(tmp_path / "data") == content_of(scenes)


def test_a_stale_path_of_another_machine_is_passed_over(dataset: Path, tmp_path: Path) -> None:
    rewrite(dataset, path="/nowhere/datasets/digits")
    import_dataset(str(dataset), tmp_path / "imported")
    assert len(Dataset.load(tmp_path / "imported").images("train")) == 24


def test_path_is_where_splits_are(dataset: Path, tmp_path: Path) -> None:
    file = rewrite(dataset, path=str(dataset)).rename(tmp_path / "elsewhere.yaml")
    import_dataset(str(file), tmp_path / "imported")
    assert len(Dataset.load(tmp_path / "imported").images("val")) == 8


def test_a_split_may_be_a_list_file_and_a_list_of_folders(dataset: Path, scenes: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (dataset / "images/val").iterdir())
    (dataset / "val.txt").write_text("".join(f"./images/val/{name}\n" for name in names[:5]))
    for kind in ("images", "labels"):
        (dataset / "more" / kind).mkdir(parents=True)
        for path in sorted((dataset / kind / "train").iterdir())[:4]:
            path.rename(dataset / "more" / kind / path.name)
    rewrite(dataset, val="val.txt", train=["images/train", "more/images"])
    import_dataset(str(dataset), tmp_path / "data")
    copy, source = Dataset.load(tmp_path / "data"), Dataset.load(scenes)
    assert [path.name for path in copy.images("val")] == names[:5]
    assert sorted(path.name for path in copy.images("train")) == [path.name for path in source.images("train")]
    boxes = {image.name: copy.boxes(image) for image in copy.images("train")}
    for image in source.images("train"):
        np.testing.assert_array_equal(boxes[image.name], source.boxes(image))


def test_unlabelled_images_come_without_labels(scenes: Path, tmp_path: Path) -> None:
    import_dataset(str(scenes), tmp_path / "data")
    assert len(Dataset.load(tmp_path / "data").images("unlabelled")) == 8
    assert not (tmp_path / "data/labels/unlabelled").exists()


def test_only_the_last_folder_named_images_becomes_labels() -> None:
    assert label_of(Path("/images/set/images/a/b.jpg")) == Path("/images/set/labels/a/b.txt")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_missing_split_is_named_with_what_to_do(dataset: Path, split: str, tmp_path: Path) -> None:
    rewrite(dataset, **{split: None})
    with pytest.raises(DataError, match=f"names no `{split}` split.*add `{split}: images/{split}`"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_folder_that_is_not_there_is_named(dataset: Path, tmp_path: Path) -> None:
    rewrite(dataset, val="images/validation")
    with pytest.raises(DataError, match="val: images/validation is not in"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_split_without_images_is_named(dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(dataset / "images/val")
    (dataset / "images/val").mkdir()
    with pytest.raises(DataError, match="val: no images"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_split_without_labels_is_named_with_where_they_would_be(dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(dataset / "labels/test")
    with pytest.raises(DataError, match=r"test: none of 8 images has labels.*labels/test/00000.txt"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_listed_image_that_is_not_there_is_named(dataset: Path, tmp_path: Path) -> None:
    (dataset / "val.txt").write_text("images/val/nothing.png\n")
    rewrite(dataset, val="val.txt")
    with pytest.raises(DataError, match=r"lists images/val/nothing.png, which is not there"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_dataset_without_names_is_refused(dataset: Path, tmp_path: Path) -> None:
    rewrite(dataset, names=None)
    with pytest.raises(DataError, match="names"):
        import_dataset(str(dataset), tmp_path / "imported")


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        import_dataset(str(tmp_path / "nothing"), tmp_path / "imported")
    with pytest.raises(DataError, match=r"holds no data.yaml"):
        import_dataset(str(tmp_path), tmp_path / "imported")
