"""Run the teachers of text classifiers over all training texts, and keep their top-k classes; a text has one view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alambique.config.text_classify import Params
from alambique.tasks.base import Card
from alambique.tasks.classifiers import soft_labels
from alambique.tasks.classifiers.soft_labels import COMBINE, SPLITS, ClassLabels, ClassRecipe, view_checksum
from alambique.tasks.transformers import encoding
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Text, Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.models import class_logits

BATCH = 64


class Teacher(NamedTuple):
    """A teacher, and the tokens of a text that it takes at most."""

    network: Network
    max_tokens: int


def recipe(cards: Sequence[Card], dataset: Texts, params: Params) -> ClassRecipe:
    """What decides the soft labels of today's texts, teachers and parameters.

    Args:
        cards: of the teachers, in the order of `params.teachers`; each names the tokenizer of its own.
    Raises:
        IntegrityError: a teacher was trained for other classes.
    """
    soft_labels.require_classes(params.teachers, cards, dataset.classes)
    return ClassRecipe(
        teachers=[card["sha256"] for card in cards],
        combine=COMBINE,
        data={split: dataset.digest(split) for split in SPLITS if dataset.has(split)},
        preprocessing={"tokens": [card["max_tokens"] for card in cards], "longer": "cut off"},
        top_k=params.soft_labels.top_k,
        classes=dataset.classes,
    )


def rows(
    teachers: Sequence[Teacher], dataset: Texts, recipe: ClassRecipe, shard: int, shards: int
) -> Iterator[ClassLabels]:
    """The rows of one shard, every n-th text by name, from the shard's number on.

    Args:
        shard, shards: which of how many.
    """
    texts = sorted((text for split in SPLITS for text in dataset.texts(split)), key=lambda text: text.name)
    texts = texts[shard::shards]
    averaged = soft_labels.average(torch.stack([_predict_all(teacher, texts, dataset.classes) for teacher in teachers]))
    for text, log_probabilities in zip(texts, averaged, strict=True):
        yield soft_labels.keep(text.name, log_probabilities[None], [checksum(text.text)], recipe)


def checksum(text: str) -> int:
    """Of the one view of a text: the text itself, since each network has tokens of its own."""
    return view_checksum(text.encode())


@torch.inference_mode()
def predict(model: nn.Module, texts: Sequence[Encoded], pad: int) -> Iterator[tuple[str, Tensor]]:
    """Each text's name and log-probabilities, (classes,), on the CPU.

    Args:
        pad: the token to pad batches with.
    """
    device = next(model.parameters()).device
    for part in encoding.bucket_by_length(texts, BATCH):
        batch = encoding.collate(part, pad)
        logits = class_logits(model, batch["ids"].to(device), batch["mask"].to(device))
        yield from zip((text.name for text in part), logits.float().log_softmax(1).cpu(), strict=True)


def _predict_all(teacher: Teacher, texts: Sequence[Text], classes: Sequence[str]) -> Tensor:
    """A teacher's log-probabilities, (texts, classes)."""
    network, max_tokens = teacher
    module: nn.Module = network.model
    module.to("cuda" if torch.cuda.is_available() else "cpu")
    encoded = encoding.encode(texts, network.tokenizer, classes, max_tokens)
    predicted = dict(predict(module, encoded, network.tokenizer.pad_token_id))
    return torch.stack([predicted[text.name] for text in texts]) if texts else torch.zeros(0, len(classes))
