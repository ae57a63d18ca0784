"""Annotations of a folder or file as a dataset in YOLO's layout."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alambique.data.dataset import LABELLED, SPLITS
from alambique.data.forms import find, voc
from alambique.data.forms.annotations import AnnotatedImage, Annotations
from alambique.data.forms.rows import NEEDS, MisfitError, rows
from alambique.data.forms.splits import split_in, split_of_folders, stratified
from alambique.data.image_values import upright_size
from alambique.data.source_files import SHARES, some
from alambique.errors import DataError
from alambique.files import sha256
from alambique.process.environment import prepare

log = logging.getLogger(__name__)


class Converted(NamedTuple):
    """A dataset to be written.

    Attributes:
        splits: by split and image file, the content of its label file; None where it is unlabelled.
    """

    splits: dict[str, dict[Path, str | None]]
    annotations: Annotations


class Found(NamedTuple):
    path: Path
    image: AnnotatedImage


def convert(path: Path, head: str) -> Converted:
    """Read the annotations in a file or folder for a head, and find their images.

    Images that come without splits are parted 80 : 10 : 10, stratified by class; a missing val or test is parted off
    train, a tenth of all.

    Raises:
        DataError: what is wrong, and in which file.
    """
    root = find.root_of(path)
    files = find.annotation_files(path)
    every = find.read(files, head, root)
    annotations = Annotations(every[0].form)
    for one in every:
        annotations.join(one)
    _drop_unused(annotations, root)
    if head == "pose" and not annotations.keypoints:
        raise DataError(f"{path}: {annotations.form} annotations without keypoints; pose learns them")
    splits = _splits(_files(annotations, root), annotations, root)
    labels = _labels(splits, annotations, head)
    counts = ", ".join(f"{split} {len(images)}" for split, images in labels.items())
    log.info("%s is taken as %s, %d file(s): images %s", path, annotations.form, len(every), counts)
    for what, count in sorted(annotations.left_out.items()):
        log.warning("%s: %d %s", path, count, what if "clipped" in what else f"left out: {what}")
    return Converted(labels, annotations)


def _drop_unused(annotations: Annotations, root: Path) -> None:
    """Take out the classes without objects, as those that exporters add for a group of classes."""
    used = {item.name for image in annotations.images for item in image.objects or ()}
    if not used:
        raise DataError(f"{root}: the {annotations.form} annotations hold no object")
    if unused := [name for name in annotations.classes if name not in used]:
        log.warning("%s: %d classes without an object are left out: %s", root, len(unused), some(unused))
    annotations.classes = [name for name in annotations.classes if name in used]


def _files(annotations: Annotations, root: Path) -> list[tuple[Found, str | None]]:
    """Each image's file, and the split that is named for it."""
    index = find.ImageIndex(root)
    sets = voc.sets(root) if annotations.form == "Pascal VOC" else {}
    found: list[tuple[Found, str | None]] = []
    missing: list[AnnotatedImage] = []
    taken: dict[Path, AnnotatedImage] = {}
    for image in annotations.images:
        listed = next((sets[key] for folder in image.file.parents if (key := (folder, image.file.stem)) in sets), None)
        named = image.split or split_in(image.file.stem) or split_of_folders(image.file, root)
        split = listed if sets else named
        path = index.find(image, split)
        if path is None:
            missing.append(image)
        elif path in taken:
            raise DataError(
                f"{path} is named twice, by {taken[path].file} and {image.file}; take one of the annotations out"
            )
        else:
            taken[path] = image
            found.append((Found(path, image), split if split or sets else split_of_folders(path, root)))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(annotations.images)} images that the {annotations.form} annotations name are not "
            f"below {root}, as {missing[0].names[-1] or missing[0].names[0]} of {missing[0].file}; put them there, or "
            "take them out of the annotations"
        )
    if left := [path.relative_to(root).as_posix() for path in index.images if path not in taken]:
        log.warning("%s: %d images that no annotation names are left out: %s", root, len(left), some(left))
    return found


def _splits(files: Sequence[tuple[Found, str | None]], annotations: Annotations, root: Path) -> dict[str, list[Found]]:
    named: dict[str, list[Found]] = defaultdict(list)
    without: list[Found] = []
    for found, split in files:
        if found.image.objects is None or split == "unlabelled":
            named["unlabelled"].append(found)
        elif split is None:
            without.append(found)
        else:
            named[split].append(found)
    given = [split for split in LABELLED if named[split]]
    if len(given) <= 1 and given != ["train"]:
        named["train"], without = without + [one for split in given for one in named.pop(split)], []
    elif without:
        names = some([found.path.relative_to(root).as_posix() for found in without])
        log.warning("%s: %d annotated images of no split are left out: %s", root, len(without), names)
    if not named["train"]:
        raise DataError(f"{root} has {' and '.join(given)}, and no train; Alambique trains on it: name a part train")
    if missing := [split for split in ("val", "test") if not named[split]]:
        _part(named, missing, root)
    return {split: named[split] for split in SPLITS if named[split]}


def _part(named: dict[str, list[Found]], missing: Sequence[str], root: Path) -> None:
    """Part the missing splits off train, so many images as their shares of all labelled ones."""
    images = named["train"]
    total = sum(len(named[split]) for split in LABELLED)
    shares = {split: SHARES[split] * total / len(images) for split in missing}
    shares = {"train": 1 - sum(shares.values()), **shares}
    if shares["train"] <= 0:
        raise DataError(f"{root}: {len(images)} images for train are too few to part {' and '.join(missing)} off them")
    keys = {found.path: sha256(found.path) for found in images}
    groups: dict[str, list[str]] = {}
    for found in images:
        groups.setdefault(keys[found.path], []).extend(item.name for item in found.image.objects or ())
    places = stratified(groups, shares)
    for split in shares:
        named[split] = [found for found in images if places[keys[found.path]] == split]
    sizes = ", ".join(f"{len(named[split])} for {split}" for split in shares)
    log.warning(
        "%s names no %s; train was parted, stratified by class: %s. If images are frames of one film, part them "
        "yourself: frames alike in two splits make figures too good",
        root,
        " and no ".join(missing),
        sizes,
    )


def _labels(splits: dict[str, list[Found]], annotations: Annotations, head: str) -> dict[str, dict[Path, str | None]]:
    prepare()  # before Ultralytics is imported for outlines in parts
    keypoints = annotations.keypoints.get("kpt_shape", (0,))[0]
    notes: Counter[str] = Counter()
    misfits: list[Path] = []
    labels: dict[str, dict[Path, str | None]] = {}
    for split, images in splits.items():
        labels[split] = {}
        for path, image in images:
            if split == "unlabelled":
                labels[split][path] = None
                continue
            try:
                size = _size(path, image)
                labels[split][path] = rows(head, image.objects or (), size, annotations.classes, keypoints, notes)
            except MisfitError:
                misfits.append(path)
    if misfits:
        raise DataError(
            f"{len(misfits)} images have objects without {NEEDS[head]}, which {head} learns, as {misfits[0]}; "
            "complete the annotations, take those objects out, or choose another --task"
        )
    annotations.left_out += notes
    return labels


def _size(path: Path, image: AnnotatedImage) -> tuple[float, float]:
    """The size that an image's pixels are given in; a DataError if the file has other proportions."""
    upright = upright_size(path)
    if upright is None or image.size is None:
        if size := upright or image.size:  # the contract names an image that is unreadable
            return size
        raise DataError(f"{path} cannot be read as an image, and {image.file} gives no size of it")
    width, height = upright
    if abs(image.size[0] * height - image.size[1] * width) > max(image.size[0], image.size[1], width, height):
        raise DataError(
            f"{path} is {width} × {height} pixels (upright), but {image.size[0]:.0f} × {image.size[1]:.0f} in "
            f"{image.file}: its boxes would lie elsewhere; annotate the image as it is"
        )
    return image.size
