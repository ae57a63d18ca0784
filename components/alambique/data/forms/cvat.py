"""CVAT for images 1.1: one XML of images with boxes, polygons, masks and skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from alambique.data.forms.annotations import (
    AnnotatedImage,
    Annotations,
    Object,
    finite,
    keypoints_of,
    polygon,
    rectangle,
    turned,
    unique,
)
from alambique.data.source_files import split_of
from alambique.errors import DataError


def is_cvat(root: Element) -> bool:
    return root.tag == "annotations" and (root.find("image") is not None or root.find("track") is not None)


def read(file: Path, root: Element, head: str) -> Annotations:
    """The images of a CVAT file; shapes that are no objects (points, lines, tags) are left out.

    Raises:
        DataError: it is of a video, which has no image files; or its skeletons have different numbers of points.
    """
    if root.find("track") is not None:
        raise DataError(f"{file} is of `CVAT for video`; export `CVAT for images 1.1`, with the images")
    labels = [label for label in root.iter("label") if label.find("name") is not None and label.find("parent") is None]
    found = Annotations("CVAT", classes=unique((label.findtext("name") or "" for label in labels), file))
    points = _points(root, file) if head == "pose" else []
    if points:
        found.keypoints = keypoints_of(points, len(points))
    for image in root.iter("image"):
        size = (float(image.attrib["width"]), float(image.attrib["height"]))
        objects = [item for shape in image if (item := _object(shape, points, found)) is not None]
        split = split_of(image.get("subset", ""))
        found.images.append(AnnotatedImage(file, [image.attrib["name"]], size, objects, split))
    found.classes += sorted({item.name for image in found.images for item in image.objects or ()} - {*found.classes})
    return found


def _object(shape: Element, points: Sequence[str], found: Annotations) -> Object | None:
    if shape.tag == "box":
        corners = rectangle(*(float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")))
        if angle := float(shape.get("rotation", "0")):
            corners = turned(corners, angle, corners.mean(0))
        return Object(shape.attrib["label"], corners)
    if shape.tag == "polygon":
        outline = polygon([pair.split(",") for pair in shape.attrib["points"].split(";")])
        return Object(shape.attrib["label"], np.array([outline.min(0), outline.max(0)]), [outline])
    if shape.tag == "skeleton":
        return _skeleton(shape, points, found)
    found.left_out[f"shapes <{shape.tag}>, which are neither boxes nor polygons nor skeletons"] += 1
    return None


def _skeleton(shape: Element, points: Sequence[str], found: Annotations) -> Object | None:
    """A skeleton in the box around its points, since CVAT draws none."""
    keypoints = np.zeros((len(points), 3))
    places = {node.attrib["label"]: node for node in shape if node.get("outside") != "1"}
    for index, name in enumerate(points):
        if (node := places.get(name)) is not None:
            x, y = finite(node.attrib["points"].split(","))
            keypoints[index] = (x, y, 1 if node.get("occluded") == "1" else 2)
    labelled = keypoints[keypoints[:, 2] > 0, :2]
    if len(labelled) < 2:
        found.left_out["skeletons with fewer than two points, or for another task"] += 1
        return None
    return Object(shape.attrib["label"], np.array([labelled.min(0), labelled.max(0)]), (), keypoints)


def _points(root: Element, file: Path) -> list[str]:
    """The names of a skeleton's points, in the order of CVAT's labels."""
    by_skeleton: dict[str, list[str]] = {}
    for label in root.iter("label"):
        if parent := label.findtext("parent"):
            by_skeleton.setdefault(parent, []).append(label.findtext("name") or "")
    if len({len(names) for names in by_skeleton.values()}) > 1:
        raise DataError(f"{file}: its skeletons have different numbers of points; a network has one number")
    if by_skeleton and len({tuple(names) for names in by_skeleton.values()}) > 1:
        raise DataError(f"{file}: its skeletons' points have different names; give them one set of names")
    return next(iter(by_skeleton.values()), [])
