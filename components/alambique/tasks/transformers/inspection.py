"""`alambique softlabels inspect` for language models: the teachers' confidence, and their likeliest tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.special import entr

from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Measure
from alambique.files import write_text
from alambique.layout import TEACHERS
from alambique.report import plots
from alambique.report.page import templates
from alambique.report.soft_labels import BINS, cache_facts, print_facts, print_histogram
from alambique.report.terminal import WIDTH
from alambique.softlabels.reader import Cache, open_cache
from alambique.tasks.transformers import tokenizers
from alambique.tasks.transformers.checkpoint import MODEL
from alambique.tasks.transformers.soft_labels import TokenLabels, TokenRecipe
from alambique.tasks.transformers.tokenizers import Pieces

ALTERNATIVES = 5
SHOWN = 3
"""Texts of a kind that the page shows."""


class Inspection:
    """Sums over a cache.

    Attributes:
        tokens: how many there are.
        confidence: histogram of the likeliest token's probability at each place, (BINS,).
        agreed: places where the likeliest token is the one in the text.
        remaining_mass: probability of all tokens that are not kept.
        entropy: nats, of the kept tokens and of the others as one.
        texts: how many, by split.
        by_text: mean probability of the likeliest token, by text.
    """

    def __init__(self, cache: Cache[TokenLabels]) -> None:
        self.tokens, self.agreed, self.remaining_mass, self.entropy = 0, 0, 0.0, 0.0
        self.confidence = np.zeros(BINS, np.int64)
        self.texts: Counter[str] = Counter()
        self.by_text: dict[str, float] = {}
        for name, row in cache.items():
            values = probabilities(row)
            first = values[:, :-1].max(-1)
            self.texts[name.partition("/")[0]] += 1
            self.tokens += len(row.ids)
            self.confidence += np.histogram(first, BINS, (0, 1))[0]
            self.agreed += int((row.tokens[:-1, 0] == row.ids[1:]).sum())
            self.remaining_mass += float(values[:, -1].sum())
            self.entropy += float(entr(values).sum())
            self.by_text[name] = float(first.mean())

    @property
    def shown(self) -> dict[str, list[str]]:
        """Texts worth a look, by why; ties by name."""
        order = sorted(self.by_text, key=lambda name: (self.by_text[name], name))
        return {"least certain": order[:SHOWN], "most certain": order[SHOWN:][-SHOWN:][::-1]}


def show(project: Path, output: Path, measures: Mapping[str, Measure], console: Console) -> None:
    """Print what the cache holds, and write the page to `output`; `measures` are the task's."""
    recipe, cache = open_cache(project, TokenRecipe)
    inspection = Inspection(cache)
    words = {**cache_facts(project, recipe, inspection.tokens, "tokens", measures), **facts(inspection, recipe)}
    print_facts(words, console)
    print_histogram("probability of the likeliest token", "places", inspection.confidence, console)
    write_text(output, page(project, cache, inspection, words, recipe))
    console.print(f"Texts: {output}", highlight=False, soft_wrap=True)


def show_sample(project: Path, sample: str, console: Console) -> None:
    """Print, token by token, the teachers' likeliest next tokens; a DataError if the cache has no such text."""
    recipe, cache = open_cache(project, TokenRecipe)
    row = cache.get(sample)
    if row is None:
        raise DataError(f"there are no soft labels for {sample}; name a text as in {next(iter(cache), 'train/000000')}")
    pieces = _pieces(project, recipe)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(title=f"{sample}: {len(row.ids)} tokens", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("token", "expected next", "all others"):
        table.add_column(column, justify="right" if column == "all others" else "left")
    values = probabilities(row)
    for place, token in enumerate(row.ids):
        likeliest = pieces.listed(row.tokens[place, :ALTERNATIVES], values[place])
        table.add_row(escape(repr(pieces(int(token)))), escape(likeliest), f"{values[place, -1]:.3f}")
    console.print(table)


def probabilities(row: TokenLabels) -> NDArray[np.float64]:
    """Of the kept tokens at each place and, last, of all others together, at temperature 1, (n, k + 1)."""
    kept = np.exp(row.log_probabilities.astype(np.float64))
    return np.concatenate((kept, np.clip(1 - kept.sum(-1, keepdims=True), 0, 1)), -1)


def facts(inspection: Inspection, recipe: TokenRecipe) -> dict[str, str]:
    """What is kept, and a cache's sums, in words."""
    texts, tokens = inspection.texts.total(), max(inspection.tokens, 1)
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(inspection.texts.items()))
    written = "" if recipe.prompt is None else f"; written by the teacher after {recipe.prompt} tokens"
    agreed = inspection.agreed / max(inspection.tokens - texts, 1)
    return {
        "kept": f"{recipe.width} of {recipe.vocabulary:,} tokens at each place, and the sum of all others{written}",
        "texts": f"{texts:,} ({splits})",
        "tokens": f"{inspection.tokens:,}, {inspection.tokens / max(texts, 1):.1f} a text",
        "not kept": f"{inspection.remaining_mass / tokens:.2%} of the probability",
        "entropy": f"{inspection.entropy / tokens:.2f} nats a token",
        "as written": f"{agreed:.1%} of the likeliest tokens are the text's",
    }


def page(
    project: Path, cache: Cache[TokenLabels], inspection: Inspection, words: dict[str, str], recipe: TokenRecipe
) -> str:
    """The page's HTML: no date, no address of another host."""
    pieces = _pieces(project, recipe)
    shares = [float(count) / max(int(inspection.confidence.sum()), 1) for count in inspection.confidence]
    template = templates("alambique.tasks.transformers", "alambique.report").get_template("inspect.html.j2")
    return template.render(
        facts=words,
        texts=inspection.texts.total(),
        tokens=inspection.tokens,
        histogram=Markup(plots.histogram(shares, "probability of the likeliest token")),  # noqa: S704  by matplotlib
        groups={
            title: [(name, marked(pieces, cache[name])) for name in names] for title, names in inspection.shown.items()
        },
    )


def marked(pieces: Pieces, row: TokenLabels) -> Markup:
    """A text, each token as faint as it is unlikely to the teachers; their likeliest tokens are its tooltip."""
    values = probabilities(row)
    parts = []
    for place, token in enumerate(row.ids[1:]):
        kept = np.flatnonzero(row.tokens[place] == token)
        likely = float(values[place, kept[0]]) if len(kept) else 0.0
        style = f"opacity: {0.35 + 0.65 * likely:.2f}"
        parts.append(pieces.span(token, row.tokens[place, :ALTERNATIVES], values[place], style))
    return Markup("".join(parts))  # noqa: S704  escaped above


def _pieces(project: Path, recipe: TokenRecipe) -> Pieces:
    """The tokens of the cache as text; IntegrityError if no teacher that is here has their tokenizer."""
    for folder in sorted((project / TEACHERS).glob(f"*/{MODEL}")):
        tokenizer = tokenizers.load(folder)
        if tokenizers.digest(tokenizer) == recipe.tokenizer:
            return Pieces(tokenizer.backend_tokenizer)
    raise IntegrityError(f"{project / TEACHERS} holds no teacher with the cache's tokenizer; `dvc pull` it")
