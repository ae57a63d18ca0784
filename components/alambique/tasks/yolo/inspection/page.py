"""A cache of soft labels on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from alambique.data.dataset import Dataset
from alambique.report import plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.report.pictures import color
from alambique.softlabels.reader import Cache
from alambique.tasks.detect.boxes import SoftLabels
from alambique.tasks.detect.inspection.inspect import Inspection
from alambique.tasks.detect.inspection.scenes import scene
from alambique.tasks.detect.inspection.summary import by_class, facts


def render(cache: Cache[SoftLabels], data: Dataset, seen: Inspection, teachers: Sequence[str]) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        cache: what was looked at.
        data: with its images.
        seen: what `inspect` found in it.
        teachers: their names.
    """
    histograms = {"Confidence": seen.confidence, "Entropy of the classes": seen.entropy}
    environment = templates("alambique.tasks.detect.inspection", "alambique.report")
    environment.filters["points"] = points
    return environment.get_template("inspect.html.j2").render(
        facts=facts(seen, teachers),
        images=seen.images.total(),
        boxes=int(seen.taught.sum()),
        recall=seen.recall,
        histograms=[
            (title, Markup(plots.histogram(shares(counts), title.lower())))  # noqa: S704  drawn by matplotlib
            for title, counts in histograms.items()
        ],
        classes=[{**row._asdict(), "color": color(index)} for index, row in enumerate(by_class(seen))],
        groups={title: [scene(data, cache[name]) for name in names] for title, names in seen.shown.items()},
    )


def shares(counts: NDArray[np.int64]) -> list[float]:
    """Each count as a share of all."""
    return [float(count) for count in counts / max(int(counts.sum()), 1)]
