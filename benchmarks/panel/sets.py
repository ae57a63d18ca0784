"""The panel's data sets: three that are given as folders, and the demo's scenes of digits, which need no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alambique.data.dataset import Dataset
from alambique.demo.digits import Scenes
from alambique.errors import DataError
from alambique.files import sha256
from benchmarks import common, datasets

DIGITS = "digits"
SHARES = (10, 20, 100)
"""Per cent of the train images that keep their labels."""
FULL = SHARES[-1]


class Setup(NamedTuple):
    """How the networks of a set are trained, teacher and students alike.

    Attributes:
        image_size: side of the input, pixels.
        steps: the ceiling of each training.
        training, soft_labels: more of these sections of params.yaml, other than the defaults.
    """

    image_size: int
    steps: int
    training: Mapping[str, Any] = {}
    soft_labels: Mapping[str, Any] = {}


SETUPS = {
    "bccd": Setup(160, 800),
    "cards": Setup(192, 800, {"flip": 0.0}),  # no card has a mirrored index
    "deeppcb": Setup(224, 800),
    DIGITS: Setup(96, 1200, {"flip": 0.0, "mosaic": 0.0}),  # scenes are random as they are
}
# A teacher of two steps is sure of nothing: every box counts, or there would be none.
QUICK = Setup(64, 2, soft_labels={"min_score": 0.0})


class PanelSet(NamedTuple):
    """One data set of a run.

    Attributes:
        source: with the labels of all its images.
        weights: what its teacher is trained from; None: from scratch.
        folder: of its projects.
    """

    name: str
    setup: Setup
    source: Dataset
    weights: Path | None
    folder: Path


def quick(scratch: Path) -> list[PanelSet]:
    """A few small scenes, whose projects are kept in `scratch`."""
    source = datasets.scenes(scratch / "scenes", train=20, size=QUICK.image_size)
    return [PanelSet(DIGITS, QUICK, source, None, scratch / DIGITS)]


def given(data: Iterable[str], weights: Path | None, scratch: Path) -> list[PanelSet]:
    """The sets of a full run, whose projects are kept in benchmarks/.runs.

    Args:
        data: NAME=PATH of each set that has files.
        weights: a COCO checkpoint of YOLO26n.
        scratch: where the scenes of digits are written.
    Raises:
        DataError: a name is unknown, a folder holds no such data set, or the weights are missing.
    """
    folders = parse(data)
    if folders and (weights is None or not weights.is_file()):
        raise DataError(f"--weights is {weights}, no file; give a COCO checkpoint of YOLO26n: --weights PATH")
    needed = {"train": FULL // SHARES[0], "val": 1, "test": 1}
    sources = {name: datasets.given(folder, needed) for name, folder in folders.items()}
    Scenes(train=800, val=100, test=200).write(scratch / DIGITS)
    sources[DIGITS] = Dataset.load(scratch / DIGITS)
    return [_kept(name, sources[name], None if name == DIGITS else weights) for name in SETUPS if name in sources]


def parse(data: Iterable[str]) -> dict[str, Path]:
    """Folder by name, of options NAME=PATH.

    Raises:
        DataError: one is not of this form, or names no set of the panel that has files.
    """
    known = [name for name in SETUPS if name != DIGITS]
    folders: dict[str, Path] = {}
    for option in data:
        name, separator, folder = option.partition("=")
        if name not in known or not separator or not folder:
            raise DataError(f"--data {option} is not NAME=PATH with a NAME among {', '.join(known)}")
        folders[name] = Path(folder)
    return folders


def labelled_every(source: Dataset, keep: int) -> dict[str, list[Path]]:
    """The images by split, when one in `keep` of the train images, by their sorted paths, keeps its labels."""
    train = source.images("train")
    labelled = train[::keep]
    splits = {"train": labelled, "val": source.images("val"), "test": source.images("test")}
    unlabelled = [image for image in train if image not in set(labelled)]
    return {**splits, "unlabelled": unlabelled} if unlabelled else splits


def described(panel_set: PanelSet) -> dict[str, Any]:
    """What the results say of a set: sizes of its splits, and its setup."""
    counts = {split: len(panel_set.source.images(split)) for split in ("train", "val", "test")}
    labelled = {str(share): len(labelled_every(panel_set.source, FULL // share)["train"]) for share in SHARES}
    setup = panel_set.setup
    return {"set": panel_set.name, "image_size": setup.image_size, "steps": setup.steps, **counts, "labelled": labelled}


def _kept(name: str, source: Dataset, weights: Path | None) -> PanelSet:
    setup = SETUPS[name]
    digests = [source.digest(split) for split in ("train", "val", "test")]
    pretrained = weights and sha256(weights)
    folder = common.state("distill_quality", set=name, data=digests, weights=pretrained, setup=setup)
    return PanelSet(name, setup, source, weights, folder)
