"""COCO's JSON: `images`, `annotations` and `categories`, of instances with boxes, segmentations or keypoints."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from alambique.data.forms.annotations import (
    AnnotatedImage,
    Annotations,
    Object,
    Points,
    finite,
    keypoints_of,
    polygon,
    rectangle,
    require_fields,
    unique,
)
from alambique.errors import DataError


def is_coco(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("images"), list)


def read(file: Path, content: Any, head: str) -> Annotations:
    """The images of a COCO file.

    Crowds (`iscrowd`) stand for no single object, and are left out, as by COCO's evaluation and Ultralytics.

    Args:
        head: masks in run lengths are decoded where it is `segment`.
    Raises:
        DataError: the file has no instances, or annotations of images or categories that it does not name.
    """
    annotations, categories = content.get("annotations"), content.get("categories")
    if not isinstance(annotations, list) or not isinstance(categories, list) or not categories:
        raise DataError(f"{file} is a COCO file without annotations and categories; give one of instances")
    ordered = sorted(categories, key=lambda category: category["id"])
    names = unique((category["name"] for category in ordered), file)
    found = Annotations("COCO", classes=names, keypoints=_keypoints(ordered, file) if head == "pose" else {})
    by_id = {category["id"]: name for category, name in zip(ordered, names, strict=True)}
    ids = {image["id"] for image in content["images"]}
    if len(by_id) != len(names) or len(ids) != len(content["images"]):
        raise DataError(f"{file}: two {'categories' if len(by_id) != len(names) else 'images'} have one id")
    objects: dict[Any, list[Object]] = defaultdict(list)
    for annotation in annotations:
        image, category = require_fields(annotation, ("image_id", "category_id"))
        if image not in ids or category not in by_id:
            where = f"image {image!r:.20}" if image not in ids else f"category {category!r:.20}"
            raise DataError(f"{file}: annotation {annotation.get('id')!r:.20} is of {where}, which the file lacks")
        if annotation.get("iscrowd"):
            found.left_out["crowds (iscrowd), which stand for no single object"] += 1
        elif head == "pose" and annotation.get("keypoints") and not any(annotation["keypoints"][2::3]):
            found.left_out["objects without a labelled keypoint, as by Ultralytics"] += 1
        else:
            try:
                objects[image].append(_object(annotation, by_id[category], head))
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise ValueError(f"annotation {annotation.get('id')!r:.20}: {error}") from None
    for image in content["images"]:
        (name,) = require_fields(image, ("file_name",))
        size = (float(image["width"]), float(image["height"])) if image.get("width") and image.get("height") else None
        found.images.append(AnnotatedImage(file, [str(name)], size, objects.get(image["id"], [])))
    return found


def _object(annotation: dict[str, Any], name: str, head: str) -> Object:
    box = annotation.get("bbox")
    shape = annotation.get("segmentation") or []
    outlines: list[Points] = []
    if head in {"segment", "obb"} or not box:
        outlines = mask_outlines(shape) if isinstance(shape, dict) else _polygons(shape)
    if box:
        x, y, width, height = map(float, box)
        corners = rectangle(x, y, x + width, y + height)
    elif outlines:
        points = np.concatenate(outlines)
        corners = np.array([points.min(0), points.max(0)])
    else:
        raise ValueError("it has neither `bbox` nor `segmentation`")
    given = annotation.get("keypoints")
    keypoints = finite(given).reshape(-1, 3) if head == "pose" and given else None
    return Object(name, corners, outlines, keypoints)


def _polygons(parts: list[list[float]]) -> list[Points]:
    """The parts that are areas; points and lines among them are passed over, as by Ultralytics."""
    return [polygon(part) for part in parts if len(part) >= 6]


def _keypoints(categories: list[dict[str, Any]], file: Path) -> dict[str, Any]:
    named = [category["keypoints"] for category in categories if category.get("keypoints")]
    if any(len(names) != len(named[0]) for names in named):
        raise DataError(f"{file}: the categories have different numbers of keypoints; a network has one number")
    return keypoints_of(named[0], len(named[0])) if named else {}


def mask_outlines(mask: dict[str, Any]) -> list[Points]:
    """The outer outlines of a mask in run lengths, compressed to a text or not; holes are filled.

    Raises:
        ValueError: the lengths do not add up to the mask's size.
    """
    import cv2

    (height, width), counts = require_fields(mask, ("size", "counts"))
    lengths = _lengths(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(lengths, default=-1) < 0 or sum(lengths) != height * width or height * width > 2**28:
        raise ValueError(f"run lengths of {sum(lengths)} pixels for a mask of {width} × {height}")
    values = np.arange(len(lengths)) % 2
    pixels = np.repeat(values.astype(np.uint8), lengths).reshape(width, height).T
    contours, _ = cv2.findContours(np.ascontiguousarray(pixels), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [contour.reshape(-1, 2).astype(np.float64) for contour in contours if len(contour) > 2]
    return sorted(outlines, key=lambda outline: outline.tolist())


def _lengths(text: str) -> list[int]:
    """COCO's text of run lengths: five bits a character, the lowest first; from the fourth on, differences."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return lengths
