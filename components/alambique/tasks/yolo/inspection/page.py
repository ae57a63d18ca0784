"""A cache of soft labels on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alambique.report import plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.report.pictures import color
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection.marks import scene
from alambique.tasks.yolo.inspection.statistics import Statistics
from alambique.tasks.yolo.inspection.summary import by_class, facts
from alambique.tasks.yolo.soft_label_rows import BoxLabels


def render(cache: Cache[BoxLabels], data: YoloDataset, statistics: Statistics, teachers: Sequence[str]) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        cache: whose statistics they are.
        data: with its images.
        statistics: of the cache.
        teachers: their names.
    """
    histograms = {"Confidence": statistics.confidence, "Entropy of the classes": statistics.entropy}
    environment = templates("alambique.tasks.yolo.inspection", "alambique.report")
    environment.filters["points"] = points
    return environment.get_template("boxes.html.j2").render(
        facts=facts(statistics, teachers),
        images=statistics.images.total(),
        boxes=int(statistics.predicted.sum()),
        recall=statistics.recall,
        histograms=[
            (title, Markup(plots.histogram(shares(counts), title.lower())))  # noqa: S704  drawn by matplotlib
            for title, counts in histograms.items()
        ],
        classes=[{**row._asdict(), "color": color(index)} for index, row in enumerate(by_class(statistics))],
        groups={title: [scene(data, cache[name]) for name in names] for title, names in statistics.shown.items()},
    )


def shares(counts: NDArray[np.int64]) -> list[float]:
    """Each count as a share of all."""
    return [float(count) for count in counts / max(int(counts.sum()), 1)]
