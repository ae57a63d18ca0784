"""Label Studio's JSON and JSON-MIN: tasks with rectangles and polygons in percent of the image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from alambique.data.forms.annotations import (
    AnnotatedImage,
    Annotations,
    Object,
    polygon,
    rectangle,
    require_fields,
    turned,
)

KINDS = ("rectanglelabels", "polygonlabels")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded file."""

_IMAGES = re.compile(r"\.(bmp|jpe?g|png|tiff?|webp)$", re.IGNORECASE)


def is_label_studio(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and "id" in task for task in content)
        and any("data" in task or _image(task) for task in content)
    )


def read(file: Path, content: Any, head: str) -> Annotations:
    """The images of a Label Studio file. Tasks that nobody annotated, or skipped, are unlabelled images."""
    found = Annotations("Label Studio")
    for task in content:
        name = _image(task.get("data") or task)
        if name is None:
            raise ValueError(f"task {task['id']!r:.20} names no image")
        results = _results(task, found)
        size = None
        objects = []
        for result in results or ():
            if (item := _object(result, found)) is not None:
                objects.append(item)
                size = (float(result["original_width"]), float(result["original_height"]))
        names = [name, _UPLOADED.sub("", Path(name).name)]
        found.images.append(AnnotatedImage(file, names, size, None if results is None else objects))
    found.classes = sorted({item.name for image in found.images for item in image.objects or ()})
    return found


def _results(task: dict[str, Any], found: Annotations) -> list[dict[str, Any]] | None:
    """The shapes of a task's annotation, the ground truth rather than others; None where nobody annotated it."""
    if "data" not in task:  # JSON-MIN
        lists = [value for value in task.values() if isinstance(value, list)]
        return [_from_min(shape) for shapes in lists for shape in shapes] if lists else None
    given = [item for item in task.get("annotations") or () if not item.get("was_cancelled")]
    given.sort(key=lambda item: not item.get("ground_truth"))
    if len(given) > 1:
        found.left_out["annotations of a task that another person annotated, too"] += len(given) - 1
    if given:
        return list(given[0]["result"])
    if task.get("predictions"):
        found.left_out["tasks with predictions alone, which become unlabelled images"] += 1
    return None


def _from_min(shape: dict[str, Any]) -> dict[str, Any]:
    kind = next((key for key in shape if key.endswith("labels")), "")
    return {"type": kind, "value": shape, **{key: shape.get(key) for key in ("original_width", "original_height")}}


def _object(result: dict[str, Any], found: Annotations) -> Object | None:
    kind, value = result.get("type"), result.get("value") or {}
    if kind not in KINDS:
        found.left_out[f"results of type {kind!r:.30}, which are neither rectangles nor polygons"] += 1
        return None
    names = value.get(kind) or []
    if len(names) != 1:
        raise ValueError(f"a shape has {len(names)} labels ({names!r:.60}), where an object has one class")
    width, height = map(float, require_fields(result, ("original_width", "original_height")))
    scale = np.array([width, height]) / 100
    if kind == "polygonlabels":
        outline = polygon(value["points"]) * scale
        return Object(str(names[0]), np.array([outline.min(0), outline.max(0)]), [outline])
    x, y, wide, high = map(float, require_fields(value, ("x", "y", "width", "height")))
    corners = rectangle(x, y, x + wide, y + high) * scale
    if angle := float(value.get("rotation") or 0):
        corners = turned(corners, angle, corners[0])  # about its upper left corner
    return Object(str(names[0]), corners)


def _image(data: dict[str, Any]) -> str | None:
    """The path of a task's image, of whichever key holds one."""
    return next(filter(None, map(_path, _texts(data))), None)


def _texts(data: dict[str, Any]) -> Iterator[str]:
    yield from (value for value in data.values() if isinstance(value, str))


def _path(text: str) -> str | None:
    """The path in `/data/upload/1/x.jpg`, `/data/local-files/?d=a/x.jpg`, or a URL; None if it is of no image."""
    parts = urlsplit(text)
    path = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    return path if _IMAGES.search(path) else None
