from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import datasets
from benchmarks.panel.sets import DIGITS, QUICK, SETUPS, PanelSet, described, given, labelled_every, parse, quick

from alambique.data.dataset import Dataset
from alambique.errors import DataError


def test_every_tenth_image_by_its_path_keeps_its_labels(scenes: Path, tmp_path: Path) -> None:
    source = Dataset.load(scenes)
    data = datasets.link(source, tmp_path / "data", labelled_every(source, 10))
    names = [image.name for image in source.images("train")]
    assert [image.name for image in data.images("train")] == names[::10]
    assert sorted(image.name for image in data.images("unlabelled")) == sorted(set(names) - set(names[::10]))
    assert not any(data.label(image).exists() for image in data.images("unlabelled"))
    for part in ("val", "test"):
        assert data.digest(part) == source.digest(part)


def test_all_images_may_keep_their_labels(scenes: Path, tmp_path: Path) -> None:
    source = Dataset.load(scenes)
    data = datasets.link(source, tmp_path / "data", labelled_every(source, 1))
    assert data.digest("train") == source.digest("train")
    assert not data.has("unlabelled")


def test_sets_are_given_by_name() -> None:
    assert parse(["cards=/a", "bccd=b=c"]) == {"cards": Path("/a"), "bccd": Path("b=c")}
    assert parse([]) == {}


@pytest.mark.parametrize("option", ["coco=/a", "/a", "cards", "cards=", "digits=/a"])
def test_a_set_that_the_panel_lacks_is_refused(option: str) -> None:
    with pytest.raises(DataError, match=f"--data {option} is not NAME=PATH with a NAME among bccd, cards, deeppcb"):
        parse([option])


def test_a_set_needs_weights_and_images(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a COCO checkpoint of YOLO26n: --weights PATH"):
        given([f"bccd={scenes}"], None, tmp_path)
    (tmp_path / "yolo26n.pt").touch()
    with pytest.raises(DataError, match="is the dataset pulled"):
        given([f"bccd={tmp_path}"], tmp_path / "yolo26n.pt", tmp_path)


def test_digits_need_no_files_and_are_kept_in_one_place(tmp_path: Path) -> None:
    (digits,) = given([], None, tmp_path / "one")
    (again,) = given([], None, tmp_path / "two")
    assert (digits.name, digits.weights, digits.setup) == (DIGITS, None, SETUPS[DIGITS])
    assert digits.folder == again.folder
    counts = described(digits)
    assert (counts["train"], counts["labelled"]) == (800, {"10": 80, "20": 160, "100": 800})


def test_a_quick_run_is_of_digits_alone(tmp_path: Path) -> None:
    (digits,) = quick(tmp_path)
    assert isinstance(digits, PanelSet)
    assert (digits.name, digits.setup, digits.weights) == (DIGITS, QUICK, None)


def test_what_has_a_right_and_a_left_is_not_mirrored() -> None:
    assert {name for name, setup in SETUPS.items() if setup.training.get("flip") == 0} == {"cards", "digits"}
