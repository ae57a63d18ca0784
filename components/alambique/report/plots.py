"""Inline SVG plots, which use the page's colours in its light and dark schemes."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alambique.evaluation.leaderboard import Row

INK, FAINT = "#010203", "#010204"
"""Placeholders, replaced by the page's CSS variables `--ink` and `--line`."""
COLORS: dict[str, str] = {
    **{"onnx": "#2f7fb8", "openvino": "#c8652b", "torchscript": "#7a5ea8", "ncnn": "#3d8f5a"},
    **{"executorch": "#b8437f", "mnn": "#a0862a", "coreml": "#6b7680", "engine": "#2a9d9d"},
}
MARKERS = {"fp32": "o", "int8": "D"}
FADED = 0.35
"""Opacity of artifacts that are not on their runtime's Pareto front."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "alambique",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # a class may be called $x$
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": FAINT,
}


@contextmanager
def plot(width: float, height: float, grid: Literal["both", "x", "y"] = "both") -> Iterator[tuple[Figure, Axes]]:
    """A plot in the page's style, to be drawn on and, by `svg`, written in the block; inches at 72 pixels each."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis=grid, linewidth=0.8)
        axes.set_axisbelow(True)
        yield figure, axes


class Axis(NamedTuple):
    """The figure of a row that an axis shows, and its label."""

    key: str
    label: str


def accuracy_against(rows: Sequence[Row], fronts: Collection[str], cost: Axis, accuracy: Axis) -> str | None:
    """Scatter plot of a measure, in points, against a cost: colour by runtime, shape by precision.

    Args:
        rows: candidates and champions; those without either figure are left out.
        fronts: names of the rows on their runtime's Pareto front; the others are faded.
        cost: a column of the rows, its label with the unit.
        accuracy: one of their metrics, a share.
    Returns:
        an <svg> element; None if no row has both figures.
    """
    points = [(row[cost.key], row["metrics"][accuracy.key], row) for row in rows]  # type: ignore[literal-required]
    known = [(x, y * 100, row) for x, y, row in points if x is not None and y is not None]
    if not known:
        return None
    with plot(5.6, 3.5) as (figure, axes):
        for x, y, row in known:
            _point(axes, x, y, row, 1.0 if row["subject"] in fronts else FADED)
        axes.margins(x=0.3, y=0.2)
        axes.set_xlim(left=max(axes.get_xlim()[0], 0))
        axes.set(xlabel=cost.label, ylabel=f"{accuracy.label}, points")
        return svg(figure)


def histogram(shares: Sequence[float], label: str) -> str:
    """An <svg> histogram over 0 to 1, of the fraction of the counts in each of equal bins; `label` is of the x axis."""
    width = 1 / len(shares)
    with plot(5.6, 2.6, "y") as (figure, axes):
        places = [index * width for index in range(len(shares))]
        axes.bar(places, [100 * share for share in shares], 0.86 * width, align="edge", color=COLORS["openvino"])
        axes.set(xlabel=label, ylabel="share, %", xlim=(0, 1))
        return svg(figure)


def pruning_costs(drops: Mapping[str, Mapping[str, float]], label: str) -> str:
    """Loss of the headline metric by pruning each layer alone: a row a layer, a dot for each ratio.

    Args:
        drops: of the headline, 0 to 1, by layer ("4 hidden") and, as text, the fraction of its channels removed.
        label: the headline's.
    Returns:
        an <svg> element.
    """
    layers = sorted(drops, key=lambda name: (int(name.partition(" ")[0]), name))  # in the order of the forward pass
    with plot(5.6, 0.8 + 0.2 * len(drops), "x") as (figure, axes):
        for row, points in enumerate(drops[layer] for layer in layers):
            lost = [100 * drop for drop in points.values()]
            axes.plot(lost, [row] * len(lost), color=COLORS["openvino"], alpha=FADED, zorder=2)
            for x, share in zip(lost, points, strict=True):
                axes.scatter(x, row, s=12 + 60 * float(share), color=COLORS["openvino"], linewidths=0, zorder=3)
        axes.set_yticks(range(len(layers)), layers, fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel=f"{label} lost on val, points", ylabel="layer")
        return svg(figure)


def _point(axes: Axes, x: float, y: float, row: Row, opacity: float) -> None:
    """A candidate is a filled marker labelled above, a champion a ring labelled below: the two often coincide."""
    champion = row["kind"] == "champion"
    color = COLORS[str(row["runtime"])]
    marker = MARKERS[str(row["precision"])]
    face, size = ("none", 170) if champion else (color, 70)
    axes.scatter(
        x, y, s=size, marker=marker, facecolors=face, edgecolors=color, linewidths=1.6, alpha=opacity, zorder=3
    )
    name = row["subject"] if champion else f"{row['student']} {row['precision']}"
    offset = (0, -19) if champion else (0, 9)
    axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", ha="center", fontsize=9)


def svg(figure: Figure) -> str:
    """The figure's <svg> element, without prolog, date and metadata."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text.replace("\n", " "), count=1)
    text = text.replace("font-family: 'DejaVu Sans'", "font-family: var(--font)")
    return text.replace(INK, "var(--ink)").replace(FAINT, "var(--line)")
