"""`report.html` of a verdict: one self-contained page."""

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
"""Pictures in each section, at most."""

SIDE = 240
"""Of a picture, pixels."""

UNITS = {"aspect": "width / height", "boxes": "boxes per image", "sharpness": "sharpness, variance of the Laplacian"}


class Thumbnail(NamedTuple):
    source: str
    caption: str


def render(
    result: dict[str, Any],
    reference: Reference,
    batch: Batch,
    fetched: Fetched,
    distances: NDArray[np.float64],
    choices: Sequence[Choice],
) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        result: the content of drift.json.
        distances: how far each image of the batch is from the reference, (n,).
        choices: images to label, the most useful first.
    """
    environment = templates("alambique.drift", "alambique.report")
    environment.filters |= {"points": points, "number": number, "probability": probability}
    furthest = np.argsort(-distances, kind="stable")[:SHOWN]
    return environment.get_template(
        "drift.html.j2"
    ).render(
        result=result,
        sentence=verdict.sentence(result),
        plots=[(title, Markup(svg)) for title, svg in _histograms(result, reference, batch)],  # noqa: S704  by matplotlib
        scatter=_scatter(reference, batch),
        colors={"reference": plots.REFERENCE, "batch": plots.BATCH},
        classes=_classes(reference, batch),
        means=_means(reference, batch),
        furthest=[_thumbnail(fetched, int(index), f"{distances[index]:.1f}") for index in furthest],
        choices=[
            _thumbnail(fetched, choice.place, f"{choice.uncertainty:.2f}, {choice.why}") for choice in choices[:SHOWN]
        ],
        to_label=len(choices),
    )


def probability(p: float) -> str:
    """A p-value with two digits."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def _histograms(result: dict[str, Any], reference: Reference, batch: Batch) -> Iterator[tuple[str, str]]:
    """Histograms of every statistic that was compared, drifted ones first."""
    pairs = {
        name: (reference.statistics[:, i], batch.statistics[:, i]) for i, name in enumerate(image_statistics.NAMES)
    }
    if (features := reference.network_features) is not None:
        pairs |= {name: (values, batch.network_features.numbers[name]) for name, values in features.numbers.items()}
    compared = [signal for signal in result["signals"] if signal["name"] in pairs]
    for signal in sorted(compared, key=lambda signal: not signal["drifted"]):
        name = signal["name"]
        yield name, plots.histograms(*pairs[name], UNITS.get(name, name))


def _scatter(reference: Reference, batch: Batch) -> Markup | None:
    if reference.network_features is None:
        return None
    return Markup(plots.scatter(reference.network_features.embeddings, batch.network_features.embeddings))  # noqa: S704  by matplotlib


def _classes(reference: Reference, batch: Batch) -> list[dict[str, Any]]:
    sides = {"batch": batch.network_features, "reference": reference.network_features}
    totals = {side: features.counts.sum(axis=0) for side, features in sides.items() if features is not None}
    shares = {side: total / max(total.sum(), 1) for side, total in totals.items()}
    return [
        {"name": name, **{side: float(share[index]) for side, share in shares.items()}}
        for index, name in enumerate(batch.network_features.classes)
    ]


def _means(reference: Reference, batch: Batch) -> dict[str, tuple[float, float | None]]:
    """The mean of each of the network's numbers, in the batch and in the reference."""
    reference_numbers = reference.network_features.numbers if reference.network_features is not None else {}
    return {
        name: (float(values.mean()), float(reference_numbers[name].mean()) if name in reference_numbers else None)
        for name, values in batch.network_features.numbers.items()
    }


def _thumbnail(fetched: Fetched, index: int, words: str) -> Thumbnail:
    return Thumbnail(data_uri(_picture(fetched.images[index])), f"{fetched.items[index].key} · {words}")


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as file:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded no finer than needed
        return ImageOps.contain(ImageOps.exif_transpose(file).convert("RGB"), (SIDE, SIDE))
