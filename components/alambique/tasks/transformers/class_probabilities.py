"""Run the teachers once over all texts that students may learn from, and keep what they make of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alambique import layout
from alambique.config.text_classify import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.tasks.cards import read_card
from alambique.tasks.text.data import Text, Texts
from alambique.tasks.text_classify import encoding, network
from alambique.tasks.text_classify.cache import TextLabels, TextRecipe, keep
from alambique.tasks.text_classify.encoding import Encoded

SPLITS = ("train", "unlabelled")
"""What students learn from."""
BATCH = 64


def soft_labels(project: Path, params: Params, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th text from the shard's number on; see `Task.soft_labels`.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    data, shards = Texts.load(project / layout.DATA), len(params.soft_labels.shards)
    made = recipe(project, params, data)
    texts = sorted((text for split in SPLITS for text in data.texts(split)), key=lambda text: text.name)[shard::shards]
    chances = expect([project / layout.teacher(name) for name in params.teachers], texts, data.classes)
    rows = [keep(text.name, row, made) for text, row in zip(texts, chances, strict=True)]
    writer.write(target, rows, made, shard, shards)
    return {
        "images": len(rows),
        "unlabelled_images": sum(text.label is None for text in texts),
        **_means(rows),
    }


def recipe(project: Path, params: Params, data: Texts) -> TextRecipe:
    """What the soft labels of today's texts, teachers and parameters are made by.

    Raises:
        IntegrityError: a teacher is not what its card says, or knows other classes than today's.
    """
    cards = [read_card(project / layout.teacher(name)) for name in params.teachers]
    for name, card in zip(params.teachers, cards, strict=True):
        if card["classes"] != data.classes:
            raise IntegrityError(
                f"the teacher {name} knows the classes {card['classes']}, but the dataset's are {data.classes}; "
                "run the teacher stage again (`dvc repro teacher`)"
            )
    return TextRecipe(
        teachers=[card["sha256"] for card in cards],
        combine="average",
        data={split: data.digest(split) for split in SPLITS if data.has(split)},
        preprocessing={"tokens": [card["max_tokens"] for card in cards], "longer": "cut off"},
        top_k=params.soft_labels.top_k,
        classes=data.classes,
    )


def expect(teachers: Sequence[Path], texts: Sequence[Text], classes: Sequence[str]) -> Tensor:
    """Log-probabilities of the classes, of several teachers the logarithm of their mean probabilities.

    Args:
        teachers: folders of their checkpoints; each reads texts in its own tokens.
    Returns:
        (texts, classes).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = []
    for folder in teachers:
        model, tokenizer = network.load(folder)
        own = encoding.encode(texts, tokenizer, classes, read_card(folder)["max_tokens"])
        reader: torch.nn.Module = model
        rows = dict(answers(reader.to(device), own, tokenizer.pad_token_id))
        found.append(torch.stack([rows[text.name] for text in texts]) if texts else torch.zeros(0, len(classes)))
    return torch.stack(found).logsumexp(0) - math.log(len(found))


@torch.inference_mode()
def answers(model: torch.nn.Module, own: Sequence[Encoded], pad: int) -> Iterator[tuple[str, Tensor]]:
    """Each text's name and log-probabilities, (classes,), on the CPU."""
    device = next(model.parameters()).device
    for part in encoding.alike(own, BATCH):
        batch = encoding.collate(part, pad)
        found = network.logits(model, batch["ids"].to(device), batch["mask"].to(device)).float().log_softmax(1).cpu()
        yield from zip((each.name for each in part), found, strict=True)


def _means(rows: Sequence[TextLabels]) -> dict[str, float]:
    count = max(len(rows), 1)
    return {
        "mean_confidence": sum(float(np.exp(row.logits[0, 0].astype(float))) for row in rows) / count,
        "mean_rest": sum(float(np.exp(row.rest[0].astype(float))) for row in rows) / count,
    }
