"""`alambique softlabels inspect` for text classifiers: the teachers' class probabilities of each text."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from markupsafe import Markup
from rich.console import Console

from alambique import config
from alambique.config.text_classify import Params
from alambique.errors import DataError
from alambique.layout import DATA, SOFT_LABELS
from alambique.softlabels.reader import Cache
from alambique.softlabels.shards import read_recipe
from alambique.tasks.classifiers import inspection
from alambique.tasks.classifiers.inspection import Inspection, SampleLabels
from alambique.tasks.classifiers.soft_labels import SPLITS, UNLABELLED, ClassLabels, ClassRecipe, mean_probabilities
from alambique.tasks.transformers.dataset import Text, Texts


def show(project: Path, output: Path, console: Console) -> None:
    """Print a summary of the cache by class, and write the page to `output`.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: the dataset is not pulled.
    """
    (recipe, cache), texts = _open(project), _texts(project)
    samples = [_sample(row, texts.get(name), recipe) for name, row in cache.items()]

    def picture(name: str) -> Markup:
        return Markup("<p>{}</p>").format(texts[name].text if name in texts else name)

    inspection.show(Inspection(samples, recipe.classes), _facts(project, cache, recipe), output, picture, console)


def show_sample(project: Path, sample: str, console: Console) -> None:
    """Print the probability of every class of a text, at temperature 1 and at that of distillation.

    Raises:
        IntegrityError: the cache is not pulled, unfinished or damaged.
        DataError: it has no such text.
    """
    recipe, cache = _open(project)
    if sample not in cache:
        raise DataError(f"there are no soft labels for {sample}; name a text as in {next(iter(cache), 'train/000000')}")
    text = _texts(project).get(sample)
    if text is not None:
        console.print(text.text, markup=False, highlight=False)
    temperature = cast("Params", config.load(project)).distill.temperature
    inspection.show_sample(_sample(cache[sample], text, recipe), recipe.classes, temperature, console)


def _open(project: Path) -> tuple[ClassRecipe, Cache[ClassLabels]]:
    """The cache, and how it was made."""
    folder = project / SOFT_LABELS
    recipe = read_recipe(folder, ClassRecipe)
    return recipe, Cache.open(folder, recipe)


def _texts(project: Path) -> dict[str, Text]:
    dataset = Texts.load(project / DATA)
    return {text.name: text for split in SPLITS for text in dataset.texts(split)}


def _sample(row: ClassLabels, text: Text | None, recipe: ClassRecipe) -> SampleLabels:
    label = text.label if text else None
    index = recipe.classes.index(label) if label in recipe.classes else UNLABELLED
    return SampleLabels(row.sample, index, mean_probabilities(row, len(recipe.classes)))


def _facts(project: Path, cache: Cache[ClassLabels], recipe: ClassRecipe) -> dict[str, str]:
    size = sum(path.stat().st_size for path in (project / SOFT_LABELS).glob("[!.]*/*"))
    return {
        "key": recipe.digest(),
        "teachers": inspection.teacher_names(project, recipe.teachers),
        "classes kept": f"{recipe.width} of {len(recipe.classes)}",
        "on disk": f"{size:,} bytes, {size / max(len(cache), 1):,.0f} a text",
    }
