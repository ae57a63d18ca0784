"""Pascal VOC's XML, a file for each image, as LabelImg writes it, too; corners are taken as they are written."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from alambique.data.forms.annotations import AnnotatedImage, Annotations, Object, polygon, rectangle, turned
from alambique.data.source_files import split_of
from alambique.errors import DataError


def is_voc(root: Element) -> bool:
    return root.tag == "annotation"


def read(file: Path, root: Element, head: str) -> Annotations:
    """The image of a VOC file. Objects marked `difficult` are left out, as by VOC's evaluation and Ultralytics."""
    found = Annotations("Pascal VOC")
    objects = []
    for node in root.iter("object"):
        if _text(node, "difficult", "0") not in {"0", ""}:
            found.left_out["objects marked difficult"] += 1
            continue
        objects.append(_object(node))
    size = (float(_text(root, "size/width", "0")), float(_text(root, "size/height", "0")))
    # An image and its annotations have one stem; <filename> is often that of the image before it was renamed.
    names = [f"{file.stem}.*", _text(root, "filename", "")]
    found.images.append(AnnotatedImage(file, names, size if min(size) > 0 else None, objects))
    found.classes = sorted({item.name for item in objects})
    return found


def sets(folder: Path) -> dict[tuple[Path, str], str]:
    """The splits of ImageSets/Main below a folder, by the folder above ImageSets and an image's stem.

    Raises:
        DataError: an image is in two of them.
    """
    splits: dict[tuple[Path, str], str] = {}
    for listed in sorted(folder.rglob("ImageSets/Main/*.txt")):
        split = split_of(listed.stem)
        for line in listed.read_text("utf-8-sig", errors="replace").split("\n") if split else ():
            for stem in line.split()[:1]:
                key = (listed.parents[2], stem)
                if split is None or splits.setdefault(key, split) != split:
                    raise DataError(f"{listed} lists {stem}, which {splits[key]} lists, too; take it out of one")
    return splits


def _object(node: Element) -> Object:
    name = _text(node, "name")
    if (box := node.find("robndbox")) is not None:
        x, y, width, height, angle = (float(_text(box, key)) for key in ("cx", "cy", "w", "h", "angle"))
        corners = rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Object(name, turned(corners, float(np.rad2deg(angle)), np.array([x, y])))
    outlines = []
    if (shape := node.find("polygon")) is not None:
        count = sum(1 for child in shape if child.tag.startswith("x"))
        outlines = [polygon([[float(_text(shape, f"{axis}{n}")) for axis in "xy"] for n in range(1, count + 1)])]
    corners = rectangle(*(float(_text(node, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")))
    return Object(name, corners, outlines)


def _text(node: Element, path: str, default: str | None = None) -> str:
    text = (node.findtext(path) or "").strip() or default
    if text is None:
        raise ValueError(f"<{node.tag}> has no <{path.replace('/', '><')}>")
    return text
