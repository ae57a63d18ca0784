"""A few test images with what is in them, what the teacher finds and what the best candidate finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from alambique.data.dataset import Dataset
from alambique.evaluation.leaderboard import Leaderboard
from alambique.layout import DATA, evaluation
from alambique.report.pictures import Picture, color, load, pick, shown
from alambique.tasks.detect import average_precision

MIN_SCORE = 0.25
"""Boxes below are neither drawn nor counted as found."""
MOST_LABELS = 8
"""In a fuller picture the names would hide what they name; the colours still tell the classes."""
TRUTH = "ground truth"


class Boxes(NamedTuple):
    """An image's boxes, x1, y1, x2, y2 in shares of the image, (n, 4); scores, (n,); class indices, (n,)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


def choose(project: Path, board: Leaderboard) -> list[Picture]:
    """The images on which teacher and best candidate disagree most, then some of middling agreement.

    The choice hangs on the results alone: equal results give equal pictures. None without a best candidate.
    """
    if board["best"] is None:
        return []
    teacher, student = (_results(project, subject) for subject in (board["teacher"], board["best"]))
    agreements = {name: agreement(teacher[name], student[name]) for name in sorted(teacher.keys() & student.keys())}
    dataset = Dataset.load(project / DATA)
    columns = {board["teacher"]: teacher, board["best"]: student}
    return [_picture(dataset, name, agreements[name], columns) for name in pick(agreements)]


def agreement(first: Boxes, second: Boxes) -> float:
    """Share of both networks' boxes that match one of the other by class and half of the area; 1 if neither has any."""
    if not len(first.boxes) and not len(second.boxes):
        return 1.0
    matched = average_precision.match(*second, first.boxes, first.classes)
    return 2 * float(matched.correct[:, 0].sum()) / (len(first.boxes) + len(second.boxes))


def _results(project: Path, subject: str) -> dict[str, Boxes]:
    """What a subject found in each test image, above the minimum score."""
    with pa.OSFile(str(project / evaluation(subject) / "images.arrow")) as file:
        rows = pa.ipc.open_file(file).read_all().to_pylist()
    return {row["image"]: _confident(row) for row in rows}


def _confident(row: dict[str, Any]) -> Boxes:
    boxes = np.array(row["boxes"], np.float32).reshape(-1, 4)
    scores = np.array(row["scores"], np.float32)
    kept = (scores >= MIN_SCORE) & np.isfinite(boxes).all(1)
    return Boxes(boxes[kept], scores[kept], np.array(row["classes"], np.int64)[kept])


def _picture(dataset: Dataset, name: str, agreed: float, columns: dict[str, dict[str, Boxes]]) -> Picture:
    path = dataset.root / "images" / name
    image = load(path)
    scored = {f"{title}, score ≥ {MIN_SCORE}": results[name] for title, results in columns.items()}
    found = {TRUTH: labelled(dataset, path)} | scored
    panels = [(title, shown(draw(image, boxes, dataset.classes), f"{name}, {title}")) for title, boxes in found.items()]
    seen = sorted({int(index) for boxes in found.values() for index in boxes.classes})
    return Picture(name, agreed, panels, [(dataset.classes[index], color(index)) for index in seen])


def labelled(dataset: Dataset, path: Path) -> Boxes:
    """The boxes that people drew in an image; their scores are NaN."""
    labels = dataset.boxes(path)
    centers, sizes = labels[:, 1:3], labels[:, 3:5]
    boxes = np.hstack([centers - sizes / 2, centers + sizes / 2]).astype(np.float32)
    return Boxes(boxes, np.full(len(boxes), np.nan, np.float32), labels[:, 0].astype(np.int64))


def draw(image: Image.Image, found: Boxes, classes: Sequence[str]) -> Image.Image:
    """A copy of `image` with boxes in their classes' colours, and with names and scores where there is room."""
    canvas = image.copy()
    pen = ImageDraw.Draw(canvas)
    scale = np.array([*image.size, *image.size])
    # The best-scored box last: nothing covers its label.
    for box, score, index in reversed(list(zip(*found, strict=True))):
        x1, y1, x2, y2 = (float(value) for value in box * scale)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color(int(index)), width=3)
        if len(found.boxes) <= MOST_LABELS:
            text = classes[int(index)] if np.isnan(score) else f"{classes[int(index)]} {score:.2f}"
            _label(pen, text, (x1, y1), color(int(index)), image.width)
    return canvas


def _label(pen: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], background: str, width: int) -> None:
    """A box's name above its corner, or inside where there is no room above."""
    font = ImageFont.load_default(16)
    right, bottom = pen.textbbox((0, 0), text, font=font)[2:]
    x = max(min(corner[0], width - right - 6), 0)
    y = corner[1] - bottom - 4 if corner[1] >= bottom + 4 else corner[1]
    pen.rectangle((x, y, x + right + 6, y + bottom + 4), fill=background)
    pen.text((x + 3, y + 1), text, fill="#111111", font=font)
