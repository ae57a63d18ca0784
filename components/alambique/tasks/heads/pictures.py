"""A few test images with what is in them, what the teacher finds and what the best candidate finds: its shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from alambique.config.heads import Heads
from alambique.evaluation.leaderboard import Leaderboard
from alambique.layout import DATA, evaluation
from alambique.report.pictures import Picture, color, load, pick, shown
from alambique.tasks.detect.evaluate import RESULTS
from alambique.tasks.detect.pictures import TRUTH, Boxes, agreement
from alambique.tasks.heads.answers import points_of
from alambique.tasks.heads.evaluate import SHAPES
from alambique.tasks.heads.shapes import Shapes

VISIBLE = 0.5
"""From which a keypoint is drawn that a network, or a label, says how visible it is."""


class Drawn(NamedTuple):
    """An image's objects.

    Attributes:
        boxes: with scores and classes.
        points: of each object, shares of the image, (p, 2) or (p, 3).
    """

    boxes: Boxes
    points: Sequence[NDArray[np.float32]]


def choose(project: Path, params: Heads, board: Leaderboard) -> list[Picture]:
    """The images on which teacher and best candidate disagree most, then some of middling agreement.

    The choice hangs on the results alone: equal results give equal pictures. None without a best candidate.
    """
    if board["best"] is None:
        return []
    data = Shapes.of(project / DATA, params.task)
    columns = {subject: _results(project, subject, data) for subject in (board["teacher"], board["best"])}
    teacher, student = columns.values()
    agreements = {
        name: agreement(teacher[name].boxes, student[name].boxes) for name in sorted(teacher.keys() & student.keys())
    }
    least = params.evaluate.threshold
    return [_picture(data, name, agreements[name], columns, least) for name in pick(agreements)]


def labelled(data: Shapes, path: Path) -> Drawn:
    """What people drew in an image; the scores are NaN."""
    sample = data.sample(path)
    centers, sizes = sample.boxes[:, :2], sample.boxes[:, 2:]
    boxes = np.hstack([centers - sizes / 2, centers + sizes / 2]).astype(np.float32)
    scores = np.full(len(boxes), np.nan, np.float32)
    return Drawn(Boxes(boxes, scores, sample.targets[:, 0].astype(np.int64)), sample.points)


def draw(image: Image.Image, found: Drawn, pose: bool) -> Image.Image:
    """A copy of `image` with outlines, corners or, of a pose, boxes and keypoints in their classes' colours."""
    canvas = image.copy()
    pen = ImageDraw.Draw(canvas, "RGBA")
    scale = np.array(image.size)
    for box, index, points in reversed(list(zip(found.boxes.boxes, found.boxes.classes, found.points, strict=True))):
        ink = color(int(index))
        if not pose:
            line = [tuple(point) for point in (points * scale).tolist()]
            pen.polygon(line, fill=f"{ink}40", outline=ink, width=3)
            continue
        x1, y1, x2, y2 = (box * np.tile(scale, 2)).tolist()
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=ink, width=2)
        for x, y, *seen in points.tolist():
            if not seen or seen[0] >= VISIBLE:
                pen.circle((x * scale[0], y * scale[1]), 5, fill=ink, outline="#111111")
    return canvas


def _picture(data: Shapes, name: str, agreed: float, columns: dict[str, dict[str, Drawn]], least: float) -> Picture:
    path = data.root / "images" / name
    image, pose = load(path), data.head == "pose"
    found = {TRUTH: labelled(data, path)}
    found |= {f"{title}, score ≥ {least:g}": results[name] for title, results in columns.items()}
    panels = [(title, shown(draw(image, each, pose), f"{name}, {title}")) for title, each in found.items()]
    seen = sorted({int(index) for each in found.values() for index in each.boxes.classes})
    return Picture(name, agreed, panels, [(data.classes[index], color(index)) for index in seen])


def _results(project: Path, subject: str, data: Shapes) -> dict[str, Drawn]:
    """What a subject is sure of in each test image."""
    folder = project / evaluation(subject)
    rows, shapes = (_read(folder / name) for name in (RESULTS, SHAPES))
    _, numbers = points_of(data.head, data.kpt_shape)
    results = {}
    for row, shape in zip(rows, shapes, strict=True):
        points = [np.array(each, np.float32).reshape(-1, numbers) for each in shape["points"]]
        sure = slice(len(points))  # the rows go by falling score
        boxes = np.array(row["boxes"], np.float32).reshape(-1, 4)[sure]
        scores, classes = np.array(row["scores"], np.float32)[sure], np.array(row["classes"], np.int64)[sure]
        results[row["image"]] = Drawn(Boxes(boxes, scores, classes), points)
    return results


def _read(path: Path) -> list[dict[str, Any]]:
    with pa.OSFile(str(path)) as file:
        rows: list[dict[str, Any]] = pa.ipc.open_file(file).read_all().to_pylist()
    return rows
