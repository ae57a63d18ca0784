"""The verdict on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alambique.drift import image_statistics, plots, verdict
from alambique.drift.features import Batch, Reference
from alambique.drift.label_selection import Choice
from alambique.drift.production_batch import Fetched
from alambique.report.figures import number, points
from alambique.report.page import templates
from alambique.report.pictures import data_uri

SHOWN = 12
"""Pictures of either kind at most."""

SIDE = 240
"""Of a picture, pixels."""

UNITS = {"aspect": "width / height", "boxes": "boxes per image", "sharpness": "sharpness, variance of the Laplacian"}


class Thumbnail(NamedTuple):
    source: str
    caption: str


def render(
    found: dict[str, Any],
    reference: Reference,
    batch: Batch,
    fetched: Fetched,
    strange: NDArray[np.float64],
    choices: Sequence[Choice],
) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        found: the content of drift.json.
        strange: how far each image of the batch is from the reference, (n,).
        choices: images worth labelling, most of all first.
    """
    environment = templates("alambique.drift", "alambique.report")
    environment.filters |= {"points": points, "number": number, "probability": probability}
    most = np.argsort(-strange, kind="stable")[:SHOWN]
    return environment.get_template(
        "drift.html.j2"
    ).render(
        found=found,
        sentence=verdict.sentence(found),
        plots=[(title, Markup(svg)) for title, svg in _histograms(found, reference, batch)],  # noqa: S704  by matplotlib
        scatter=_scatter(reference, batch),
        colors={"reference": plots.REFERENCE, "batch": plots.BATCH},
        classes=_classes(reference, batch),
        said=_said(reference, batch),
        strange=[_thumbnail(fetched, int(index), f"{strange[index]:.1f}") for index in most],
        choices=[_thumbnail(fetched, each.place, f"{each.uncertainty:.2f}, {each.why}") for each in choices[:SHOWN]],
        asked=len(choices),
    )


def probability(p: float) -> str:
    """A p-value: two digits, or that it is below what anyone cares for."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _histograms(found: dict[str, Any], reference: Reference, batch: Batch) -> Iterator[tuple[str, str]]:
    """Of every number that was compared, those that drifted first."""
    pairs = {
        name: (reference.statistics[:, i], batch.statistics[:, i]) for i, name in enumerate(image_statistics.NAMES)
    }
    if (seen := reference.observed) is not None:
        pairs |= {name: (values, batch.observed.numbers[name]) for name, values in seen.numbers.items()}
    compared = [signal for signal in found["signals"] if signal["name"] in pairs]
    for signal in sorted(compared, key=lambda signal: not signal["drifted"]):
        name = signal["name"]
        yield name, plots.histograms(*pairs[name], UNITS.get(name, name))


def _scatter(reference: Reference, batch: Batch) -> Markup | None:
    if reference.observed is None:
        return None
    return Markup(plots.scatter(reference.observed.embeddings, batch.observed.embeddings))  # noqa: S704  by matplotlib


def _classes(reference: Reference, batch: Batch) -> list[dict[str, Any]]:
    """Of each class, its share of the predictions."""
    sides = {"batch": batch.observed, "reference": reference.observed}
    totals = {side: seen.counts.sum(axis=0) for side, seen in sides.items() if seen is not None}
    shares = {side: total / max(total.sum(), 1) for side, total in totals.items()}
    return [
        {"name": name, **{side: float(share[index]) for side, share in shares.items()}}
        for index, name in enumerate(batch.observed.classes)
    ]


def _said(reference: Reference, batch: Batch) -> dict[str, tuple[float, float | None]]:
    """The mean of each number that the champion's predictions give, in the batch and in the reference."""
    known = reference.observed.numbers if reference.observed is not None else {}
    return {
        name: (float(values.mean()), float(known[name].mean()) if name in known else None)
        for name, values in batch.observed.numbers.items()
    }


def _thumbnail(fetched: Fetched, index: int, words: str) -> Thumbnail:
    return Thumbnail(data_uri(_picture(fetched.images[index])), f"{fetched.items[index].key} · {words}")


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as file:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded no finer than needed
        return ImageOps.contain(ImageOps.exif_transpose(file).convert("RGB"), (SIDE, SIDE))
