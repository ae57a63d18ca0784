"""What teachers know of samples beyond their labels: a wolf that is 90 % wolf, 9 % dog and 1 % cat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.special import entr

from alambique.files import write_text
from alambique.report import plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.report.terminal import WIDTH

BINS = 20
"""Of a histogram from 0 to 1."""
NAMED = 3
"""Other classes that are named beside a class."""
EACH = 6
"""Samples of a kind that are shown."""
FAINT = 0.005
"""What is less likely is not listed."""
BAR = 36
"""Characters of the longest bar."""


class Seen(NamedTuple):
    """What the teachers see in one sample.

    Attributes:
        name: of the sample.
        label: its class index, −1 where it has none.
        chances: the probability of each class at temperature 1, over all views of it, (classes,).
    """

    name: str
    label: int
    chances: NDArray[np.float64]


class ClassRow(NamedTuple):
    """What is known of a class.

    Attributes:
        labelled: samples that people gave it.
        found: the share of them whose likeliest class it is; None where there are none.
        others: the likeliest other classes in them, with their mean probabilities.
        taught: samples without a label whose likeliest class it is.
    """

    name: str
    labelled: int
    found: float | None
    others: list[tuple[str, float]]
    taught: int


@dataclass(frozen=True)
class Inspection:
    """All that was looked at.

    Attributes:
        samples: in the cache's order.
        classes: their names.
    """

    samples: list[Seen]
    classes: list[str]

    @property
    def chances(self) -> NDArray[np.float64]:
        """(samples, classes)."""
        return np.array([each.chances for each in self.samples])

    @property
    def labels(self) -> NDArray[np.int64]:
        """−1 where there is none, (samples,)."""
        return np.array([each.label for each in self.samples])

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Of each sample, as a share of the highest possible: 0 is sure, 1 is at a loss."""
        found: NDArray[np.float64] = entr(self.chances).sum(axis=1) / np.log(max(len(self.classes), 2))
        return found.clip(0, 1)

    @property
    def agreement(self) -> float | None:
        """The share of the labelled samples whose likeliest class is their label; None where there are none."""
        known = self.labels >= 0
        return float((self.chances.argmax(axis=1) == self.labels)[known].mean()) if known.any() else None

    def rows(self) -> list[ClassRow]:
        """A row a class, in index order."""
        return [self._row(index) for index in range(len(self.classes))]

    def _row(self, index: int) -> ClassRow:
        own = self.chances[self.labels == index]
        mean = own.mean(axis=0) if len(own) else np.zeros(len(self.classes))
        order = [other for other in np.argsort(-mean, kind="stable") if other != index and mean[other] >= FAINT]
        return ClassRow(
            name=self.classes[index],
            labelled=len(own),
            found=float((own.argmax(axis=1) == index).mean()) if len(own) else None,
            others=[(self.classes[other], float(mean[other])) for other in order[:NAMED]],
            taught=int(((self.labels < 0) & (self.chances.argmax(axis=1) == index)).sum()),
        )

    def shown(self) -> dict[str, list[Seen]]:
        """The samples worth a look, by why; ties by name."""
        by_doubt = sorted(range(len(self.samples)), key=lambda place: (-self.entropy[place], self.samples[place].name))
        against = [place for place in by_doubt if 0 <= self.labels[place] != self.chances[place].argmax()]
        against.sort(key=lambda place: -self.chances[place].max())
        doubted = [place for place in by_doubt if place not in set(against[:EACH])]
        groups = {"surest against the label": against[:EACH], "most in doubt": doubted[:EACH]}
        return {title: [self.samples[place] for place in places] for title, places in groups.items()}


def look(samples: Iterable[Seen], classes: Sequence[str]) -> Inspection:
    """Gather what there is to see."""
    return Inspection(list(samples), list(classes))


def show(
    seen: Inspection, facts: Mapping[str, str], output: Path, picture: Callable[[str], Markup], console: Console
) -> None:
    """Print what the teachers know, class by class, and write a page about it.

    Args:
        facts: what the cache is, by name.
        output: the page; needs nothing but itself.
        picture: a sample as a page shows it, by its name.
        console: where to.
    """
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    about = Table.grid(padding=(0, 2))
    for name, value in {**facts, **_told(seen)}.items():
        about.add_row(f"[dim]{name}[/]", escape(value))
    console.print(about)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    for column in ("labelled", "found, %", "unlabelled taken for it"):
        table.add_column(column, justify="right")
    table.add_column("the teachers see in it, too, %")
    for row in seen.rows():
        others = ", ".join(f"{name} {points(share)}" for name, share in row.others)
        table.add_row(escape(row.name), f"{row.labelled:,}", points(row.found), f"{row.taught:,}", escape(others))
    console.print(table)
    write_text(output, page(seen, facts, picture))
    console.print(f"Samples: {output}", highlight=False, soft_wrap=True)


def show_sample(one: Seen, classes: Sequence[str], temperature: float, console: Console) -> None:
    """Print the probability of every class that is not negligible, as it is and as students hear it.

    Args:
        temperature: of `distill`.
        console: where to.
    """
    console.print(f"[bold]{escape(one.name)}[/], labelled {label(one, classes)}", highlight=False)
    heard = tempered(one.chances, temperature)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("class", "%", f"% at temperature {temperature:g}", ""):
        table.add_column(column)
    for index in np.argsort(-one.chances, kind="stable"):
        if max(one.chances[index], heard[index]) >= FAINT:
            bar = "█" * round(BAR * one.chances[index])
            table.add_row(escape(classes[index]), points(one.chances[index]), points(heard[index]), bar)
    console.print(table)


def page(seen: Inspection, facts: Mapping[str, str], picture: Callable[[str], Markup]) -> str:
    """The page's HTML: no date, no address of another host; see `show`."""
    environment = templates("alambique.tasks.classification", "alambique.report")
    environment.filters["points"] = points
    counts = np.histogram(seen.entropy, BINS, (0, 1))[0] / max(len(seen.samples), 1)
    return environment.get_template("inspection.html.j2").render(
        facts={**facts, **_told(seen)},
        samples=len(seen.samples),
        agreement=seen.agreement,
        histogram=Markup(plots.histogram(counts.tolist(), "entropy")),  # noqa: S704  drawn by matplotlib
        classes=seen.rows(),
        groups={
            title: [
                (each.name, label(each, seen.classes), picture(each.name), likeliest(each, seen.classes))
                for each in group
            ]
            for title, group in seen.shown().items()
        },
    )


def _panel(one: Seen, classes: Sequence[str], picture: Callable[[str], Markup]) -> tuple[object, ...]:
    return one.name, label(one, classes), picture(one.name), likeliest(one, classes)


def likeliest(one: Seen, classes: Sequence[str]) -> list[tuple[str, float]]:
    """The classes that are not negligible, the likeliest first, at most five."""
    order = np.argsort(-one.chances, kind="stable")[:5]
    return [(classes[index], float(one.chances[index])) for index in order if one.chances[index] >= FAINT]


def label(one: Seen, classes: Sequence[str]) -> str:
    """The sample's class, in words."""
    return classes[one.label] if one.label >= 0 else "by nobody"


def tempered(chances: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Probabilities at a temperature, (classes,)."""
    raised = chances ** (1 / temperature)
    softened: NDArray[np.float64] = raised / raised.sum()
    return softened


def _told(seen: Inspection) -> dict[str, str]:
    labelled = int((seen.labels >= 0).sum())
    told = {"labelled": f"{labelled:,} of {len(seen.samples):,}", "mean entropy": f"{seen.entropy.mean():.3f} of 1"}
    if seen.agreement is not None:
        told["labels found"] = f"{seen.agreement:.1%}"
    return told
