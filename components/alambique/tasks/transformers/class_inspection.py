"""Look at a cache of texts: what the teachers know of them beyond their labels."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from markupsafe import Markup
from rich.console import Console

from alambique import config
from alambique.config.text_classify import Params
from alambique.errors import DataError
from alambique.files import read_json
from alambique.layout import CARD, DATA, SOFT_LABELS, TEACHERS
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_manifests
from alambique.tasks.classification import inspection
from alambique.tasks.classification.inspection import Seen
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify.cache import TextLabels, TextRecipe
from alambique.tasks.text_classify.encoding import UNKNOWN
from alambique.tasks.text_classify.soft_labels import SPLITS


def show(project: Path, output: Path, console: Console) -> None:
    """Print what the cache holds, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
    """
    cache, recipe = _open(project)
    texts = {text.name: text for split in SPLITS for text in Texts.load(project / DATA).texts(split)}
    seen = inspection.look(
        (_seen(row, texts[name].label if name in texts else None, recipe) for name, row in cache.items()),
        recipe.classes,
    )
    inspection.show(
        seen,
        _facts(project, cache, recipe),
        output,
        lambda name: Markup("<p>{}</p>").format(texts[name].text if name in texts else name),
        console,
    )


def show_sample(project: Path, sample: str, console: Console) -> None:
    """Print what the teachers make of one text.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: it has no such text.
    """
    cache, recipe = _open(project)
    if sample not in cache:
        raise DataError(f"there are no soft labels for {sample}; name a text as in {next(iter(cache), 'train/000000')}")
    data = Texts.load(project / DATA)
    text = next((text for split in SPLITS for text in data.texts(split) if text.name == sample), None)
    if text is not None:
        console.print(text.text, markup=False, highlight=False)
    one = _seen(cache[sample], text.label if text else None, recipe)
    inspection.show_sample(one, recipe.classes, cast("Params", config.load(project)).distill.temperature, console)


def _seen(row: TextLabels, label: str | None, recipe: TextRecipe) -> Seen:
    others = len(recipe.classes) - recipe.width
    chances = np.full(len(recipe.classes), np.exp(float(row.rest[0])) / others if others else 0.0)
    chances[row.classes[0]] = np.exp(row.logits[0].astype(np.float64))
    known = label is not None and label in recipe.classes
    return Seen(row.sample, recipe.classes.index(str(label)) if known else UNKNOWN, chances / chances.sum())


def _facts(project: Path, cache: Cache[TextLabels], recipe: TextRecipe) -> dict[str, str]:
    names = {read_json(card)["sha256"]: card.parent.name for card in (project / TEACHERS).glob(f"*/{CARD}")}
    size = sum(path.stat().st_size for path in (project / SOFT_LABELS).glob("[!.]*/*"))
    return {
        "key": recipe.digest(),
        "teachers": ", ".join(f"{names.get(each, '')} {each[:12]}".strip() for each in recipe.teachers),
        "kept": f"{recipe.width} of {len(recipe.classes)} classes",
        "on disk": f"{size:,} bytes, {size / max(len(cache), 1):,.0f} a text",
    }


def _open(project: Path) -> tuple[Cache[TextLabels], TextRecipe]:
    """The cache as it lies there, by whatever recipe it was made."""
    folder = project / SOFT_LABELS
    recipe = TextRecipe.model_validate(read_manifests(folder)[0].recipe)
    return Cache.open(folder, recipe), recipe
