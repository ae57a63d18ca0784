"""A cache of soft labels on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alambique.data.dataset import Dataset
from alambique.report import pictures, plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.softlabels.inspect import Inspection
from alambique.softlabels.reader import Cache
from alambique.softlabels.schema import Row, SoftLabels
from alambique.softlabels.summary import by_class, chances, facts, unit


class Mark(NamedTuple):
    """A box in a picture, in its pixels; a teacher's has a score and says its probabilities when pointed at."""

    x: float
    y: float
    width: float
    height: float
    color: str
    score: float
    title: str


class Scene(NamedTuple):
    """An image with its boxes.

    Attributes:
        name: path inside data/images.
        source: data URI of its pixels.
        width, height: of these, pixels.
        labelled: boxes that people drew.
        taught: the teachers' boxes, the best last, so that none covers it.
    """

    name: str
    source: str
    width: int
    height: int
    labelled: list[Mark]
    taught: list[Mark]


def render(cache: Cache[Row], data: Dataset, seen: Inspection, teachers: Sequence[str]) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        cache: what was looked at.
        data: with its images.
        seen: what `inspect` found in it.
        teachers: their names.
    """
    histograms = {"Confidence": seen.confidence, "Entropy of the classes": seen.entropy}
    environment = templates("alambique.softlabels", "alambique.report")
    environment.filters["points"] = points
    return environment.get_template("inspect.html.j2").render(
        facts=facts(seen, teachers),
        images=seen.images.total(),
        outputs=int(seen.taught.sum()),
        unit=unit(seen),
        recall=seen.recall,
        histograms=[
            (title, Markup(plots.histogram(shares(counts), title.lower())))  # noqa: S704  drawn by matplotlib
            for title, counts in histograms.items()
        ],
        classes=[{**row._asdict(), "color": pictures.color(index)} for index, row in enumerate(by_class(seen))],
        groups={
            title: [scene(data, row) for row in map(cache.__getitem__, names) if isinstance(row, SoftLabels)]
            for title, names in seen.shown.items()
        },
    )


def shares(counts: NDArray[np.int64]) -> list[float]:
    """Each count as a share of all."""
    return [float(count) for count in counts / max(int(counts.sum()), 1)]


def scene(data: Dataset, row: SoftLabels) -> Scene:
    """An image of the cache with both kinds of boxes."""
    path = data.root / "images" / row.image
    image, truth = pictures.load(path), pictures.labelled(data, path)
    size = np.array(image.size)
    labelled = [_mark(box, size, index) for box, index in zip(truth.boxes, truth.classes, strict=True)]
    taught = [
        _mark(box, size, kept[0], float(score), chances(logits, kept, data.classes))
        for box, score, logits, kept in zip(row.boxes, row.scores, row.logits, row.classes, strict=True)
    ]
    return Scene(row.image, pictures.data_uri(image), *image.size, labelled, taught[::-1])


def _mark(box: NDArray[np.floating], size: NDArray[np.int64], index: int, score: float = 1.0, title: str = "") -> Mark:
    corner, extent = box[:2] * size, (box[2:] - box[:2]) * size
    x, y, width, height = (round(float(value), 1) for value in (*corner, *extent))
    return Mark(x, y, width, height, pictures.color(int(index)), score, title)
