"""Let a model go on with texts by itself: what sequence-level distillation trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from alambique.tasks.text.sequences import TokenSequence
from alambique.tasks.text.tokens import TokenRecipe

BATCH = 64


def go_on(
    model: PreTrainedModel, end: int | None, own: Sequence[TokenSequence], made: TokenRecipe
) -> list[TokenSequence]:
    """What the teacher writes after the beginning of each text, drawn from what it expects; that alone is learned.

    The beginning is the recipe's `prompt` tokens; of a conversation, all before the assistant's first words. What fills
    a window stays as it is. What is drawn depends on the text's name alone, so that shards do not matter.

    Args:
        end: the token that ends a text.
        own: texts, or windows of them.
    """
    prompts = {each.name: _prompt(each, made.prompt or 1) for each in own}
    found = {each.name: each for each in own}
    order = sorted(prompts, key=lambda name: (len(prompts[name]), name))
    for length, names in groupby(order, key=lambda name: len(prompts[name])):
        same = list(names)
        for start in range(0, len(same), BATCH):
            batch = same[start : start + BATCH]
            for name, ids in zip(batch, _write(model, prompts, batch, end, made), strict=True):
                if len(ids) > length:
                    found[name] = TokenSequence(name, ids, np.arange(len(ids)) >= length)
    return list(found.values())


def _prompt(sequence: TokenSequence, tokens: int) -> NDArray[np.int64]:
    begun = int(np.argmax(sequence.learned))  # 1 of a text
    return sequence.ids[: begun if begun > 1 else tokens]


@torch.inference_mode()
def _write(
    model: PreTrainedModel,
    prompts: dict[str, NDArray[np.int64]],
    names: Sequence[str],
    end: int | None,
    made: TokenRecipe,
) -> list[NDArray[np.int64]]:
    """Prompts of one length with what follows each, up to the end of the text or of the window."""
    begun = np.stack([prompts[name] for name in names])
    ids = fresh = torch.from_numpy(begun).to(model.device)
    chance = [np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])) for name in names]
    past, writing = None, np.ones(len(names), bool)
    while ids.shape[1] < made.max_tokens and writing.any():
        answer = model(input_ids=fresh, past_key_values=past, use_cache=True)
        past = answer.past_key_values
        fresh = _draw(answer.logits[:, -1, : made.vocabulary], chance)
        ids = torch.cat((ids, fresh), 1)
        writing &= fresh[:, 0].cpu().numpy() != end
    return [_until(row, begun.shape[1], end) for row in ids.cpu().numpy()]


def _draw(logits: Tensor, chance: Sequence[np.random.Generator]) -> Tensor:
    places = torch.tensor([[each.random()] for each in chance], dtype=torch.float64)
    drawn = torch.searchsorted(logits.cpu().double().softmax(-1).cumsum(-1), places)
    return drawn.clamp(max=logits.shape[-1] - 1).to(logits.device)


def _until(row: NDArray[np.int64], begun: int, end: int | None) -> NDArray[np.int64]:
    ends = np.flatnonzero(row[begun:] == end)
    return row[: begun + int(ends[0]) + 1] if len(ends) else row
