"""Look at a cache of texts: how sure the teachers are of what follows, and what else they expected."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass, field
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
from alambique.files import read_json, write_text
from alambique.layout import CARD, SOFT_LABELS, TEACHERS
from alambique.report import plots
from alambique.report.figures import points
from alambique.report.page import templates
from alambique.report.terminal import WIDTH
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_manifests
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.tokenizer import Pieces
from alambique.tasks.text.tokens import TokenLabels, TokenRecipe

BINS = 20
BAR = 36
"""Characters of the longest bar."""
ALTERNATIVES = 5
EACH = 3
"""Texts of a kind that the page shows."""


@dataclass
class Inspection:
    """What was found.

    Attributes:
        size: bytes on disk, manifests and all.
        tokens: how many there are.
        surest: how many places give their likeliest token a probability from i / BINS on, (BINS,).
        agreed: places where the likeliest token is the one that stands there.
        rest: mean probability of all tokens that are not kept.
        entropy: mean, nats, of the kept tokens and the rest as one.
        texts: how many, by split.
        certainty: mean probability of the likeliest token, by text.
    """

    size: int
    tokens: int = 0
    surest: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    agreed: int = 0
    rest: float = 0.0
    entropy: float = 0.0
    texts: Counter[str] = field(default_factory=Counter)
    certainty: dict[str, float] = field(default_factory=dict)

    @property
    def shown(self) -> dict[str, list[str]]:
        """Texts worth a look, by why; ties by name."""
        order = sorted(self.certainty, key=lambda name: (self.certainty[name], name))
        return {"least certain": order[:EACH], "most certain": order[EACH:][-EACH:][::-1]}


def show(project: Path, output: Path, console: Console) -> None:
    """Print what the cache holds, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
    """
    cache, recipe = _open(project)
    seen = inspect(cache, sum(path.stat().st_size for path in (project / SOFT_LABELS).glob("[!.]*/*")))
    words = facts(project, seen, recipe)
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    about = Table.grid(padding=(0, 2))
    for name, value in words.items():
        about.add_row(f"[dim]{name}[/]", escape(value))
    console.print(about)
    console.print("\n[bold]probability of the likeliest token[/], share of places", highlight=False)
    for line in bars(seen.surest):
        console.print(line, highlight=False)
    write_text(output, page(project, cache, seen, words, recipe))
    console.print(f"Texts: {output}", highlight=False, soft_wrap=True)


def show_sample(project: Path, sample: str, console: Console) -> None:
    """Print, token by token, what the teachers expected next, with probabilities.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: it has no such text.
    """
    cache, recipe = _open(project)
    row = cache.get(sample)
    if row is None:
        raise DataError(f"there are no soft labels for {sample}; name a text as in {next(iter(cache), 'train/000000')}")
    pieces = _pieces(project, recipe)
    if not console.is_terminal:
        console.width = WIDTH
    table = Table(title=f"{sample}: {len(row.ids)} tokens", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("token", "expected next", "all others"):
        table.add_column(column, justify="right" if column == "all others" else "left")
    chances = probabilities(row)
    for place, token in enumerate(row.ids):
        found = expected(pieces, row, chances, place)
        table.add_row(escape(repr(pieces(int(token)))), escape(found), f"{chances[place, -1]:.3f}")
    console.print(table)


def inspect(cache: Cache[TokenLabels], size: int) -> Inspection:
    """Look at every text of a cache once."""
    seen = Inspection(size)
    for name, row in cache.items():
        chances = probabilities(row)
        first = chances[:, :-1].max(-1)
        seen.texts[name.partition("/")[0]] += 1
        seen.tokens += len(row.ids)
        seen.surest += np.histogram(first, BINS, (0, 1))[0]
        seen.agreed += int((row.tokens[:-1, 0] == row.ids[1:]).sum())
        seen.rest += float(chances[:, -1].sum())
        seen.entropy += float(entr(chances).sum())
        seen.certainty[name] = float(first.mean())
    return seen


def probabilities(row: TokenLabels) -> NDArray[np.float64]:
    """Of the kept tokens at each place and, last, of all others together, at temperature 1, (n, k + 1)."""
    kept = np.exp(row.logits.astype(np.float64))
    return np.concatenate((kept, np.clip(1 - kept.sum(-1, keepdims=True), 0, 1)), -1)


def facts(project: Path, seen: Inspection, recipe: TokenRecipe) -> dict[str, str]:
    """What the cache is, in words."""
    texts, tokens = seen.texts.total(), max(seen.tokens, 1)
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(seen.texts.items()))
    names = {read_json(card)["sha256"]: card.parent.name for card in (project / TEACHERS).glob(f"*/{CARD}")}
    teachers = (f"{names[each]} {each[:12]}" if each in names else each[:12] for each in recipe.teachers)
    written = "" if recipe.prompt is None else f"; written by the teacher after {recipe.prompt} tokens"
    return {
        "key": recipe.digest(),
        "teachers": ", ".join(teachers),
        "kept": f"{recipe.width} of {recipe.vocabulary:,} tokens at each place, and the sum of all others{written}",
        "texts": f"{texts:,} ({splits})",
        "tokens": f"{seen.tokens:,}, {seen.tokens / max(texts, 1):.1f} a text",
        "on disk": f"{seen.size:,} bytes, {seen.size / tokens:,.0f} a token",
        "not kept": f"{seen.rest / tokens:.2%} of the probability",
        "entropy": f"{seen.entropy / tokens:.2f} nats a token: what the teachers know beyond the one that stands there",
        "as written": f"{seen.agreed / max(seen.tokens - texts, 1):.1%} of the likeliest tokens stand there",
    }


def bars(histogram: NDArray[np.int64]) -> list[str]:
    """A line for every two bins, the longest bar `BAR` characters."""
    parts = histogram.reshape(-1, 2).sum(1) / max(int(histogram.sum()), 1)
    return [
        f"  {2 * number / BINS:.1f}–{2 * (number + 1) / BINS:.1f} {points(part):>6} %  "
        f"{'█' * round(BAR * part / max(parts.max(), 1e-9))}".rstrip()
        for number, part in enumerate(parts)
    ]


def page(project: Path, cache: Cache[TokenLabels], seen: Inspection, words: dict[str, str], recipe: TokenRecipe) -> str:
    """The page's HTML: no date, no address of another host."""
    pieces = _pieces(project, recipe)
    shares = [float(count) / max(int(seen.surest.sum()), 1) for count in seen.surest]
    return (
        templates("alambique.tasks.text", "alambique.report")
        .get_template("inspect.html.j2")
        .render(
            facts=words,
            texts=seen.texts.total(),
            tokens=seen.tokens,
            histogram=Markup(plots.histogram(shares, "probability of the likeliest token")),  # noqa: S704  by matplotlib
            groups={
                title: [(name, marked(pieces, cache[name])) for name in names] for title, names in seen.shown.items()
            },
        )
    )


def marked(pieces: Pieces, row: TokenLabels) -> Markup:
    """A text, each token as faint as the teachers held it unlikely; pointed at, it says what they expected."""
    chances = probabilities(row)
    parts = []
    for place, token in enumerate(row.ids[1:]):
        found = np.flatnonzero(row.tokens[place] == token)
        likely = float(chances[place, found[0]]) if len(found) else 0.0
        title = html.escape(expected(pieces, row, chances, place), quote=True)
        text = html.escape(pieces(int(token)))
        parts.append(f'<span title="{title}" style="opacity: {0.35 + 0.65 * likely:.2f}">{text}</span>')
    return Markup("".join(parts))  # noqa: S704  escaped above


def expected(pieces: Pieces, row: TokenLabels, chances: NDArray[np.float64], place: int) -> str:
    """The likeliest tokens after a place: ' the' 0.61 · ' a' 0.22."""
    found = zip(row.tokens[place, :ALTERNATIVES], chances[place], strict=False)
    return " · ".join(f"{pieces(int(token))!r} {chance:.2g}" for token, chance in found)


def _pieces(project: Path, recipe: TokenRecipe) -> Pieces:
    """The tokens of the cache as text.

    Raises:
        IntegrityError: no teacher that is here speaks in them.
    """
    for folder in sorted((project / TEACHERS).glob(f"*/{folders.MODEL}")):
        tokenizer = tokenizers.load(folder)
        if tokenizers.digest(tokenizer) == recipe.tokenizer:
            return Pieces(tokenizer.backend_tokenizer)
    raise IntegrityError(f"{project / TEACHERS} holds no teacher with the cache's tokenizer; `dvc pull` it")


def _open(project: Path) -> tuple[Cache[TokenLabels], TokenRecipe]:
    """The cache as it lies there, by whatever recipe it was made."""
    folder = project / SOFT_LABELS
    recipe = TokenRecipe.model_validate(read_manifests(folder)[0].recipe)
    return Cache.open(folder, recipe), recipe
