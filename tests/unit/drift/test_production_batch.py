from __future__ import annotations

from pathlib import Path

import pytest

from alambique.data.store import Item, open_store
from alambique.drift.production_batch import fetch, lay_out_labelled, newest

CLASSES = [str(number) for number in range(10)]


def item(key: str, modified: float) -> Item:
    return Item(key, 10, "v1", modified)


def test_the_newest_images_are_taken_and_ordered_by_key() -> None:
    items = [item("b.jpg", 1.0), item("a.jpg", 3.0), item("notes.txt", 9.0), item("c.jpg", 2.0), item("d.PNG", 2.0)]
    assert [pair.key for pair in newest(items, 3)] == ["a.jpg", "c.jpg", "d.PNG"]
    assert [pair.key for pair in newest(items, 2)] == ["a.jpg", "d.PNG"]  # by key, of those that came together
    assert newest([], 3) == []


def test_labels_stay_with_their_image() -> None:
    items = [item("images/a.jpg", 1.0), item("labels/a.txt", 9.0), item("images/b.jpg", 2.0)]
    (first, second) = newest(items, 5)
    assert first.label is not None and first.label.key == "labels/a.txt"
    assert second.label is None


@pytest.fixture
def production(photographs: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "production"
    folder.mkdir()
    for number, path in enumerate(sorted((photographs / "images" / "test").iterdir())[:6]):
        (folder / path.name).write_bytes(path.read_bytes())
        label = photographs / "labels" / "test" / f"{path.stem}.txt"
        if number < 2:
            (folder / label.name).write_text(label.read_text())
    return folder


def test_what_is_broken_is_left_out_and_counted(production: Path, tmp_path: Path) -> None:
    (production / "words.png").write_text("no image")
    (production / "00000.txt").write_text("no label")
    store = open_store(str(production))
    found = fetch(store, newest(store.items(), 99), tmp_path / "batch", CLASSES)
    assert [each.key for each in found.items] == [f"{number:05d}.png" for number in range(1, 6)]
    assert len(found.images) == len(found.statistics) == 5
    assert found.unreadable == 2


def test_labelled_images_become_a_dataset_of_their_own(production: Path, tmp_path: Path) -> None:
    from alambique.data.dataset import Dataset

    store = open_store(str(production))
    found = fetch(store, newest(store.items(), 99), tmp_path / "batch", CLASSES)
    assert lay_out_labelled(found, tmp_path / "labelled", CLASSES) == 2
    dataset = Dataset.load(tmp_path / "labelled")
    assert dataset.classes == CLASSES
    assert [len(dataset.boxes(image)) > 0 for image in dataset.images("test")] == [True, True]
