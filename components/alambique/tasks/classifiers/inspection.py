"""`alambique softlabels inspect` for classifiers: the teachers' class probabilities, by class and by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from alambique.errors import DataError
from alambique.evaluation.measures import Measure
from alambique.files import write_text
from alambique.report import plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.report.soft_labels import BAR, BINS, cache_facts, print_facts
from alambique.softlabels.reader import open_cache
from alambique.tasks.classifiers.soft_labels import UNLABELLED, ClassRecipe, mean_probabilities

NAMED = 3
"""Other classes that are named beside a class."""
SHOWN = 6
"""Samples of a kind that are shown."""
LISTED = 5
"""Classes beside a sample, at most."""
NEGLIGIBLE = 0.005
"""Probabilities below it are not listed."""


class ClassRow(NamedTuple):
    """What the soft labels say of a class.

    Attributes:
        labelled: samples with this label.
        found: share of them whose likeliest class it is; None where there are none.
        others: the likeliest other classes in them, with their mean probabilities.
        predicted: samples without a label whose likeliest class it is.
    """

    name: str
    labelled: int
    found: float | None
    others: list[tuple[str, float]]
    predicted: int


@dataclass(frozen=True)
class Inspection:
    """The soft labels of n samples.

    Attributes:
        names: of the samples, in the cache's order.
        labels: class index of each, `UNLABELLED` where it has none, (n,).
        probabilities: the teachers', at temperature 1, mean over a sample's views, (n, classes).
        classes: their names.
        facts: how the cache was made, by name.
    """

    names: list[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: list[str]
    facts: Mapping[str, str]

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Normalised entropy of each sample: 0 = one class has all the mass, 1 = uniform, (n,)."""
        nats = entr(self.probabilities).sum(axis=1)
        normalised: NDArray[np.float64] = (nats / np.log(max(len(self.classes), 2))).clip(0, 1)
        return normalised

    @property
    def agreement(self) -> float | None:
        """Share of the labelled samples whose likeliest class is their label; None where there are none."""
        labelled = self.labels >= 0
        right = self.probabilities.argmax(axis=1) == self.labels
        return float(right[labelled].mean()) if labelled.any() else None

    @property
    def summary(self) -> dict[str, str]:
        """The facts, and what the soft labels say on the whole."""
        labelled, total = int((self.labels >= 0).sum()), len(self.names)
        agreement = {} if self.agreement is None else {"labels found": f"{self.agreement:.1%}"}
        counted = {"labelled": f"{labelled:,} of {total:,}", "mean entropy": f"{self.entropy.mean():.3f} of 1"}
        return {**self.facts, **counted, **agreement}

    def label(self, sample: int) -> str:
        """A sample's class, in words."""
        return self.classes[self.labels[sample]] if self.labels[sample] >= 0 else "by nobody"

    def likeliest(self, sample: int) -> list[tuple[str, float]]:
        """A sample's classes that are not negligible, the likeliest first, at most `LISTED`."""
        order = np.argsort(-self.probabilities[sample], kind="stable")[:LISTED]
        pairs = [(self.classes[index], float(self.probabilities[sample, index])) for index in order]
        return [(name, probability) for name, probability in pairs if probability >= NEGLIGIBLE]

    def rows(self) -> list[ClassRow]:
        """A row for each class, in index order."""
        rows, likeliest = [], self.probabilities.argmax(axis=1)
        for index, name in enumerate(self.classes):
            labelled = self.labels == index
            mean = self.probabilities[labelled].mean(axis=0) if labelled.any() else np.zeros(len(self.classes))
            mean_order = np.argsort(-mean, kind="stable")
            others = [other for other in mean_order if other != index and mean[other] >= NEGLIGIBLE]
            row = ClassRow(
                name=name,
                labelled=int(labelled.sum()),
                found=float((likeliest[labelled] == index).mean()) if labelled.any() else None,
                others=[(self.classes[other], float(mean[other])) for other in others[:NAMED]],
                predicted=int(((self.labels < 0) & (likeliest == index)).sum()),
            )
            rows.append(row)
        return rows

    def shown(self) -> dict[str, list[int]]:
        """The samples worth a look, by why; ties by name."""
        entropy, likeliest = self.entropy, self.probabilities.argmax(axis=1)
        order = sorted(range(len(self.names)), key=lambda sample: (-entropy[sample], self.names[sample]))
        wrong = [sample for sample in order if 0 <= self.labels[sample] != likeliest[sample]]
        wrong.sort(key=lambda sample: -self.probabilities[sample].max())
        uncertain = [sample for sample in order if sample not in wrong[:SHOWN]]
        return {"most confident against the label": wrong[:SHOWN], "most uncertain": uncertain[:SHOWN]}


def read(
    project: Path, kind: type[ClassRecipe], labels: Mapping[str, str | None], measures: Mapping[str, Measure]
) -> Inspection:
    """The soft labels of a project, beside the classes of its labelled samples, by name; `measures` are the task's.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged, or no view in it is of one sample.
    """
    recipe, cache = open_cache(project, kind)
    classes, names = recipe.classes, list(cache)
    indices = {name: index for index, name in enumerate(classes)}
    probabilities = [mean_probabilities(row, len(classes)) for row in cache.values()]
    return Inspection(
        names,
        np.array([indices.get(labels.get(name) or "", UNLABELLED) for name in names], np.int64),
        np.array(probabilities).reshape(-1, len(classes)),
        classes,
        {**cache_facts(project, recipe, len(cache), "samples", measures), **recipe.describe()},
    )


def show(inspection: Inspection, output: Path, picture: Callable[[str], Markup], console: Console) -> None:
    """Print a summary by class, and write a page that needs nothing but itself; `picture` shows a sample of a name."""
    print_facts(inspection.summary, console)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("class")
    for column in ("labelled", "found, %", "predicted for unlabelled"):
        table.add_column(column, justify="right")
    table.add_column("other classes' probabilities, %")
    for row in inspection.rows():
        others = ", ".join(f"{name} {points(share)}" for name, share in row.others)
        table.add_row(escape(row.name), f"{row.labelled:,}", points(row.found), f"{row.predicted:,}", escape(others))
    console.print(table)
    write_text(output, page(inspection, picture))
    console.print(f"Samples: {output}", highlight=False, soft_wrap=True)


def show_sample(inspection: Inspection, name: str, temperature: float, console: Console) -> None:
    """Print the probability of every class that is not negligible, at temperature 1 and at that of distillation.

    Raises:
        DataError: the cache has no sample of this name.
    """
    if name not in inspection.names:
        example = inspection.names[0] if inspection.names else "train/…"
        raise DataError(f"there are no soft labels for {name}; name a sample as in {example}")
    sample = inspection.names.index(name)
    console.print(f"[bold]{escape(name)}[/], labelled {inspection.label(sample)}", highlight=False)
    probabilities = inspection.probabilities[sample]
    raised = probabilities ** (1 / temperature)
    softened = raised / raised.sum()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("class", "%", f"% at temperature {temperature:g}", ""):
        table.add_column(column)
    for index in np.argsort(-probabilities, kind="stable"):
        probability = probabilities[index]
        if max(probability, softened[index]) >= NEGLIGIBLE:
            bar = "█" * round(BAR * probability)
            table.add_row(escape(inspection.classes[index]), points(probability), points(softened[index]), bar)
    console.print(table)


def page(inspection: Inspection, picture: Callable[[str], Markup]) -> str:
    """The page's HTML: no date, no address of another host; see `show`."""
    environment = templates("alambique.tasks.classifiers", "alambique.report")
    environment.filters["points"] = points
    names = inspection.names
    counts = np.histogram(inspection.entropy, BINS, (0, 1))[0] / max(len(names), 1)
    return environment.get_template("inspection.html.j2").render(
        facts=inspection.summary,
        samples=len(names),
        agreement=inspection.agreement,
        histogram=Markup(plots.histogram(counts.tolist(), "entropy")),  # noqa: S704  drawn by matplotlib
        classes=inspection.rows(),
        groups={
            title: [
                (names[sample], inspection.label(sample), picture(names[sample]), inspection.likeliest(sample))
                for sample in group
            ]
            for title, group in inspection.shown().items()
        },
    )
