"""`report.html` of a verdict: one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.decomposition import PCA

from alambique.drift import image_statistics, verdict
from alambique.drift.features import Batch, Reference
from alambique.drift.label_selection import Choice
from alambique.drift.production_batch import Fetched
from alambique.drift.two_sample_tests import standardised
from alambique.report.figures import number, points
from alambique.report.page import templates
from alambique.report.pictures import data_uri
from alambique.report.plots import COLORS, plot, svg

SHOWN = 12
"""Pictures in each section, at most."""

SIDE = 240
"""Of a picture, pixels."""

REFERENCE, BATCH = COLORS["coreml"], COLORS["openvino"]
BINS = 24
UNITS = {"aspect": "width / height", "boxes": "boxes per image", "sharpness": "sharpness, variance of the Laplacian"}


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
    network_features = reference.network_features
    furthest = np.argsort(-distances, kind="stable")[:SHOWN]
    return environment.get_template(
        "drift.html.j2"
    ).render(
        result=result,
        sentence=verdict.sentence(result),
        plots=[(name, Markup(figure)) for name, figure in _histograms(result, reference, batch)],  # noqa: S704  by matplotlib
        scatter=network_features
        and Markup(_scatter_plot(network_features.embeddings, batch.network_features.embeddings)),  # noqa: S704  as above
        colors={"reference": REFERENCE, "batch": BATCH},
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
        yield name, _histogram_plot(*pairs[name], UNITS.get(name, name))


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


def _thumbnail(fetched: Fetched, index: int, words: str) -> tuple[str, str]:
    """The data: URI of an image of the batch, and its caption."""
    with Image.open(fetched.images[index]) as file:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded no finer than needed
        picture = ImageOps.contain(ImageOps.exif_transpose(file).convert("RGB"), (SIDE, SIDE))
    return data_uri(picture), f"{fetched.items[index].key} · {words}"


def _histogram_plot(reference: NDArray[np.float64], batch: NDArray[np.float64], label: str) -> str:
    """Histograms of a statistic, (n,) and (m,), over common bins, in shares of either set; an <svg> element."""
    edges = _edges(np.concatenate([reference, batch]))
    with plot(3.7, 2.3, "y") as (figure, axes):
        for sample, color in ((reference, REFERENCE), (batch, BATCH)):
            shares = 100 * np.histogram(sample, edges)[0] / len(sample)
            axes.stairs(shares, edges, color=color, fill=True, alpha=0.3)
            axes.stairs(shares, edges, color=color, linewidth=1.6)
        axes.set(xlabel=label, ylabel="share, %")
        axes.locator_params(axis="x", nbins=5)
        return svg(figure)


def _scatter_plot(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> str:
    """Embeddings, (n, d) and (m, d), on the first two principal components of both sets together; an <svg> element."""
    vectors = standardised(np.concatenate([reference, batch]))
    analysis = PCA(2, svd_solver="full").fit(vectors)
    places = analysis.transform(vectors)
    shares = analysis.explained_variance_ratio_
    first, second = (f"component {number}, {100 * share:.0f} %" for number, share in enumerate(shares, 1))
    with plot(5.6, 4.2) as (figure, axes):
        for part, color in ((places[: len(reference)], REFERENCE), (places[len(reference) :], BATCH)):
            axes.scatter(part[:, 0], part[:, 1], s=13, color=color, alpha=0.6, linewidths=0)
        axes.set(xlabel=f"{first} of the variance", ylabel=second)
        return svg(figure)


def _edges(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of bins of equal width; for counts a bin for each number, or for several."""
    low, high = float(pooled.min()), float(pooled.max())
    if np.array_equal(pooled, np.rint(pooled)):
        step = max(round((high - low + 1) / BINS), 1)
        return np.arange(low - 0.5, high + 0.5 + step, step)
    return np.linspace(low, high, BINS + 1)
