"""Run the teachers once over the texts that distillation needs, and keep what they expect after each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique import layout
from alambique.config.text import Params
from alambique.errors import ConfigurationError
from alambique.evaluation.measures import Metrics
from alambique.softlabels import writer
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders, network, sequences, writing
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text.lessons import SPLITS
from alambique.tasks.text.sequences import TokenSequence
from alambique.tasks.text.tokens import TokenLabels, TokenRecipe, keep

AHEAD = 512
"""Sequences that are looked at out of order, so that batches hold texts of about one length."""


def soft_labels(project: Path, params: Params, shard: int, target: Path) -> Metrics:
    """Write one shard of the cache, every n-th text from the shard's number on; see `Task.soft_labels`.

    Raises:
        IntegrityError: a teacher is not what its card says.
        ConfigurationError: teachers speak in different tokens.
    """
    data, shards = Texts.load(project / layout.DATA), len(params.soft_labels.shards)
    made = recipe(project, params, data)
    folders = [project / layout.teacher(name) for name in params.teachers]
    models, spoken = zip(*map(network.load, folders), strict=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    texts = [text for split in SPLITS for text in data.texts(split)][shard::shards]
    own = sequences.encode(texts, spoken[0], made.max_tokens)
    models = tuple(model.to(device) for model in models)
    if made.prompt is not None:
        own = writing.go_on(models[0], spoken[0].eos_token_id, own, made)
    own = sorted(own, key=lambda each: each.name)
    tally = _Tally()
    writer.write(target, tally.count(look(models, own, made)), made, shard, shards)
    return {
        "images": len(texts),
        "sequences": len(own),
        "tokens": tally.tokens,
        "rest": tally.rest / max(tally.tokens, 1),
        "written": made.prompt is not None,
    }


def recipe(project: Path, params: Params, data: Texts) -> TokenRecipe:
    """What the soft labels of today's texts, teachers and parameters are made by.

    Raises:
        IntegrityError: a teacher is not what its card says.
        ConfigurationError: teachers speak in different tokens.
    """
    cards = [read_card(project / layout.teacher(name)) for name in params.teachers]
    first = cards[0]
    for name, card in zip(params.teachers, cards, strict=True):
        if card["tokenizer"] != first["tokenizer"]:
            raise ConfigurationError(
                f"teachers: {params.teachers[0]} and {name} have different tokenizers, so that their expectations "
                "cannot be averaged; name one of them"
            )
    how = params.soft_labels
    return TokenRecipe(
        teachers=[card["sha256"] for card in cards],
        combine="average",
        data={split: data.digest(split) for split in SPLITS if data.has(split)},
        preprocessing={"windows": "overlap by one token"},
        top_k=how.top_k,
        classes=[],
        tokenizer=first["tokenizer"],
        vocabulary=first["vocabulary"],
        max_tokens=first["max_tokens"],
        temperature=how.temperature,
        prompt=how.prompt,
    )


def look(models: Sequence[PreTrainedModel], own: Sequence[TokenSequence], made: TokenRecipe) -> Iterator[TokenLabels]:
    """The teachers' soft labels, sequence by sequence, in their order.

    Args:
        models: in evaluation mode.
        own: texts, or what a teacher wrote.
        made: what to keep.
    """
    for start in range(0, len(own), AHEAD):
        part = own[start : start + AHEAD]
        rows: dict[str, TokenLabels] = {}
        for batch in sequences.alike(part, made.vocabulary):
            found = expect(models, sequences.collate(batch)["ids"], made.vocabulary)
            rows |= {
                each.name: keep(each, logits[: len(each.ids)], made) for each, logits in zip(batch, found, strict=True)
            }
        yield from (rows[each.name] for each in part)


@torch.inference_mode()
def expect(models: Sequence[PreTrainedModel], ids: Tensor, vocabulary: int) -> Tensor:
    """What follows each token: one teacher's logits, or the mean of several teachers' probabilities.

    Returns:
        (batch, tokens, vocabulary), on the CPU.
    """
    found = [network.logits(model, ids.to(model.device), vocabulary).float() for model in models]
    if len(found) == 1:
        return found[0].cpu()
    return torch.stack([each.log_softmax(-1) for each in found]).logsumexp(0).cpu()


def require_same_tokens(project: Path, params: Params, tokenizer: PreTrainedTokenizerFast, whose: str) -> None:
    """Refuse a student whose tokens mean something else than its teacher's.

    Raises:
        ConfigurationError: so it is; the message says in what they differ.
    """
    teacher = tokenizers.load(project / layout.teacher(params.teachers[0]) / folders.MODEL)
    if differing := tokenizers.difference(teacher, tokenizer):
        raise ConfigurationError(
            f"networks.{whose}.weights has another tokenizer than the teacher {params.teachers[0]} ({differing}), so "
            "that what the teacher expects cannot be told to it; start from a model with the teacher's tokenizer, or "
            "from none"
        )


@dataclass
class _Tally:
    """Sums over the tokens that pass by."""

    tokens: int = 0
    rest: float = 0.0

    def count(self, seen: Iterator[TokenLabels]) -> Iterator[TokenLabels]:
        for row in seen:
            chances: Any = row.logits.astype(float)
            self.tokens += len(row.ids)
            self.rest += float((1 - torch.from_numpy(chances).exp().sum(-1)).clamp(min=0).sum())
            yield row
