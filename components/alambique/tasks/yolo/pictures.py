"""A few test images with their labels, the teacher's predictions and the best candidate's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from ultralytics.utils.ops import xywh2xyxy

from alambique.errors import DataError
from alambique.evaluation.leaderboard import Leaderboard
from alambique.layout import DATA, evaluation
from alambique.report.pictures import Picture, color, load, pick, shown
from alambique.report.thumbnails import LabelledSample, Mark, box_outline
from alambique.tasks.yolo import average_precision, production_images
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.dataset import HeadName, YoloDataset
from alambique.tasks.yolo.decoding import point_shape
from alambique.tasks.yolo.evaluate import POINTS, RESULTS
from alambique.tasks.yolo.production_images import read_results

MOST_LABELS = 8
"""In a fuller picture the names would hide what they name; the colours still tell the classes."""
VISIBLE = 0.5
"""Visibility from which a keypoint is drawn, where a network or a label gives one."""
TRUTH = "ground truth"


class Drawing(NamedTuple):
    """An image's objects.

    Attributes:
        detections: boxes in shares of the image; scores are NaN where people drew them.
        points: of each object, shares of the image, (p, 2) or (p, 3); none where objects are boxes.
    """

    detections: Detections
    points: Sequence[NDArray[np.float32]] = ()


def choose(project: Path, head: HeadName, threshold: float, board: Leaderboard) -> list[Picture]:
    """The images on which teacher and best candidate disagree most, then some of middling agreement.

    The choice depends on the results alone: equal results give equal pictures. None without a best candidate.

    Args:
        threshold: predictions with a lower score are not drawn.
    """
    if board["best"] is None:
        return []
    dataset = YoloDataset.load(project / DATA, head)
    columns = {subject: _results(project, subject, dataset, threshold) for subject in (board["teacher"], board["best"])}
    teacher, student = columns.values()
    agreements = {
        name: agreement(teacher[name].detections, student[name].detections)
        for name in sorted(teacher.keys() & student.keys())
    }
    return [_picture(dataset, name, agreements[name], columns, threshold) for name in pick(agreements)]


def agreement(first: Detections, second: Detections) -> float:
    """Share of both networks' boxes that match one of the other by class and half of the area; 1 if neither has any."""
    if not len(first.boxes) and not len(second.boxes):
        return 1.0
    matched = average_precision.match(second, first.boxes, first.classes)
    return 2 * float(matched.correct[:, 0].sum()) / (len(first.boxes) + len(second.boxes))


def labelled(dataset: YoloDataset, path: Path) -> Drawing:
    """An image's labels; their scores are NaN."""
    sample = dataset.sample(path)
    scores = np.full(len(sample.boxes), np.nan, np.float32)
    classes = sample.targets[:, 0].astype(np.int64)
    return Drawing(Detections(xywh2xyxy(sample.boxes), scores, classes), sample.points)


def labelled_sample(dataset: YoloDataset, path: Path) -> LabelledSample:
    """An image with a mark for each object: its box, outline or corners, and its labelled keypoints."""
    try:
        drawing = labelled(dataset, path)
    except DataError:  # the page names it among the labels that cannot be read
        return LabelledSample(path)
    none = np.empty((0, 2), np.float32)
    marks = []
    for number, (box, index) in enumerate(zip(drawing.detections.boxes, drawing.detections.classes, strict=True)):
        points = drawing.points[number] if drawing.points else none
        outlined = dataset.head in {"segment", "obb"}
        keypoints = points[points[:, 2] > 0, :2] if dataset.head == "pose" else none
        name = dataset.classes[index] if 0 <= index < len(dataset.classes) else f"class {index}"
        marks.append(Mark(int(index), name, points if outlined else box_outline(box), keypoints))
    return LabelledSample(path, marks=marks)


def draw(image: Image.Image, drawing: Drawing, head: HeadName, classes: Sequence[str]) -> Image.Image:
    """A copy of `image` with boxes, outlines, corners, or boxes and keypoints in their classes' colours.

    Boxes have names and scores, where there is room.
    """
    canvas = image.copy()
    if head == "detect":
        _draw_boxes(canvas, drawing.detections, classes)
    else:
        _draw_points(canvas, drawing, pose=head == "pose")
    return canvas


def _draw_boxes(canvas: Image.Image, detections: Detections, classes: Sequence[str]) -> None:
    pen = ImageDraw.Draw(canvas)
    scale = np.array([*canvas.size, *canvas.size])
    # The best-scored box last: nothing covers its label.
    for box, score, index in reversed(list(zip(*detections, strict=True))):
        x1, y1, x2, y2 = (float(value) for value in box * scale)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color(int(index)), width=3)
        if len(detections.boxes) <= MOST_LABELS:
            text = classes[int(index)] if np.isnan(score) else f"{classes[int(index)]} {score:.2f}"
            _label(pen, text, (x1, y1), color(int(index)), canvas.width)


def _label(pen: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], background: str, width: int) -> None:
    """A box's name above its corner, or inside where there is no room above."""
    font = ImageFont.load_default(16)
    right, bottom = pen.textbbox((0, 0), text, font=font)[2:]
    x = max(min(corner[0], width - right - 6), 0)
    y = corner[1] - bottom - 4 if corner[1] >= bottom + 4 else corner[1]
    pen.rectangle((x, y, x + right + 6, y + bottom + 4), fill=background)
    pen.text((x + 3, y + 1), text, fill="#111111", font=font)


def _draw_points(canvas: Image.Image, drawing: Drawing, pose: bool) -> None:
    pen = ImageDraw.Draw(canvas, "RGBA")
    scale = np.array(canvas.size)
    objects = zip(drawing.detections.boxes, drawing.detections.classes, drawing.points, strict=True)
    for box, index, points in reversed(list(objects)):
        ink = color(int(index))
        if not pose:
            line = [tuple(point) for point in (points * scale).tolist()]
            pen.polygon(line, fill=f"{ink}40", outline=ink, width=3)
            continue
        x1, y1, x2, y2 = (box * np.tile(scale, 2)).tolist()
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=ink, width=2)
        for x, y, *visibility in points.tolist():
            if not visibility or visibility[0] >= VISIBLE:
                pen.circle((x * scale[0], y * scale[1]), 5, fill=ink, outline="#111111")


def _picture(
    dataset: YoloDataset, name: str, agreed: float, columns: dict[str, dict[str, Drawing]], threshold: float
) -> Picture:
    path = dataset.root / "images" / name
    image = load(path)
    drawings = {TRUTH: labelled(dataset, path)}
    drawings |= {f"{title}, score ≥ {threshold:g}": results[name] for title, results in columns.items()}
    panels = [
        (title, shown(draw(image, drawing, dataset.head, dataset.classes), f"{name}, {title}"))
        for title, drawing in drawings.items()
    ]
    indices = sorted({int(index) for drawing in drawings.values() for index in drawing.detections.classes})
    return Picture(name, agreed, panels, [(dataset.classes[index], color(index)) for index in indices])


def _results(project: Path, subject: str, dataset: YoloDataset, threshold: float) -> dict[str, Drawing]:
    """A network's predictions of each test image from the threshold on."""
    folder = project / evaluation(subject)
    results = {row["image"]: _confident(row, threshold) for row in read_results(folder / RESULTS).to_pylist()}
    if dataset.head == "detect":
        return {name: Drawing(detections) for name, detections in results.items()}
    _, numbers = point_shape(dataset.head, dataset.kpt_shape)
    points = {
        row["image"]: [np.array(values, np.float32).reshape(-1, numbers) for values in row["points"]]
        for row in read_results(folder / POINTS).to_pylist()
    }
    return {name: Drawing(detections, points[name]) for name, detections in results.items()}


def _confident(row: dict[str, Any], threshold: float) -> Detections:
    detections = production_images.detections(row).above(threshold)
    finite: NDArray[np.bool_] = np.all(np.isfinite(detections.boxes), axis=1)
    return detections.take(finite)
