"""A cache of soft labels on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alambique.report import pictures, plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection.statistics import Statistics, by_class, probabilities
from alambique.tasks.yolo.pictures import labelled
from alambique.tasks.yolo.soft_label_rows import BoxLabels


def render(cache: Cache[BoxLabels], data: YoloDataset, statistics: Statistics, facts: Mapping[str, str]) -> str:
    """The page's HTML, `facts` at its top: no date, no address of another host."""
    environment = templates("alambique.tasks.yolo.inspection", "alambique.report")
    environment.filters["points"] = points
    rows = [{**row._asdict(), "color": pictures.color(index)} for index, row in enumerate(by_class(statistics))]
    return environment.get_template("boxes.html.j2").render(
        facts=facts,
        images=statistics.images.total(),
        boxes=int(statistics.predicted.sum()),
        recall=statistics.recall,
        histograms=[
            ("Confidence", _histogram(statistics.confidence, "confidence")),
            ("Entropy of the classes", _histogram(statistics.entropy, "entropy of the classes")),
        ],
        classes=rows,
        groups={title: [_scene(data, cache[name]) for name in names] for title, names in statistics.shown.items()},
    )


def _histogram(counts: NDArray[np.int64], name: str) -> Markup:
    shares = (counts / max(int(counts.sum()), 1)).tolist()
    return Markup(plots.histogram(shares, name))  # noqa: S704  drawn by matplotlib


def _scene(data: YoloDataset, row: BoxLabels) -> dict[str, Any]:
    """An image of the cache with both kinds of boxes; of the teachers' the best last, so that none covers it."""
    path = data.root / "images" / row.image
    image, truth = pictures.load(path), labelled(data, path).detections
    boxes = zip(row.boxes, row.scores, row.logits, row.classes, strict=True)
    predicted = [
        {
            **_rectangle(box, image.size, kept[0]),
            "score": float(score),
            "title": probabilities(logits, kept, data.classes),
        }
        for box, score, logits, kept in boxes
    ]
    return {
        "name": row.image,
        "source": pictures.data_uri(image),
        "width": image.width,
        "height": image.height,
        "labelled": [_rectangle(box, image.size, index) for box, index in zip(truth.boxes, truth.classes, strict=True)],
        "predicted": predicted[::-1],
    }


def _rectangle(box: NDArray[np.floating], size: tuple[int, int], index: int) -> dict[str, Any]:
    """A box in the image's pixels, in the colour of its class."""
    corner, extent = box[:2] * np.array(size), (box[2:] - box[:2]) * np.array(size)
    x, y, width, height = (round(float(value), 1) for value in (*corner, *extent))
    return {"x": x, "y": y, "width": width, "height": height, "color": pictures.color(int(index))}
