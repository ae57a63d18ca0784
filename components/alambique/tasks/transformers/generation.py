"""Let a causal language model continue texts by itself: what sequence-level distillation trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from alambique.tasks.transformers.sequences import TokenSequence

BATCH = 64


def sample(
    model: PreTrainedModel,
    texts: Sequence[TokenSequence],
    prompt: int,
    end: int | None,
    vocabulary: int,
    max_tokens: int,
) -> list[TokenSequence]:
    """The beginning of each text with the model's continuation, which alone is in the loss mask.

    The beginning is `prompt` tokens; of a conversation, all before the assistant's first words. What fills a window
    stays as it is. What is drawn depends on the text's name alone, so that shards do not matter. `end` ends a text.
    """
    prompts = {text.name: _prompt(text, prompt) for text in texts}
    sampled = {text.name: text for text in texts}
    for names in _of_one_length(prompts):
        length = len(prompts[names[0]])
        for name, ids in zip(names, _continue(model, prompts, names, end, vocabulary, max_tokens), strict=True):
            if len(ids) > length:
                sampled[name] = TokenSequence(name, ids, np.arange(len(ids)) >= length)
    return list(sampled.values())


def _of_one_length(prompts: dict[str, NDArray[np.int64]]) -> Iterator[list[str]]:
    """Names of prompts that are equally long, in batches."""
    order = sorted(prompts, key=lambda name: (len(prompts[name]), name))
    for _, names in groupby(order, key=lambda name: len(prompts[name])):
        same = list(names)
        yield from (same[start : start + BATCH] for start in range(0, len(same), BATCH))


def _prompt(text: TokenSequence, tokens: int) -> NDArray[np.int64]:
    begun = int(np.argmax(text.loss_mask))  # 1 of a text
    return text.ids[: begun if begun > 1 else tokens]


@torch.inference_mode()
def _continue(
    model: PreTrainedModel,
    prompts: dict[str, NDArray[np.int64]],
    names: Sequence[str],
    end: int | None,
    vocabulary: int,
    max_tokens: int,
) -> list[NDArray[np.int64]]:
    """Prompts of one length with their continuations, up to the end of the text or of the window."""
    begun = np.stack([prompts[name] for name in names])
    ids = new = torch.from_numpy(begun).to(model.device)
    generators = [np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])) for name in names]
    past, unfinished = None, np.ones(len(names), bool)
    while ids.shape[1] < max_tokens and unfinished.any():
        output = model(input_ids=new, past_key_values=past, use_cache=True)
        past = output.past_key_values
        new = _draw(output.logits[:, -1, :vocabulary], generators)
        ids = torch.cat((ids, new), 1)
        unfinished &= new[:, 0].cpu().numpy() != end
    return [_until(row, begun.shape[1], end) for row in ids.cpu().numpy()]


def _draw(logits: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
    places = torch.tensor([[generator.random()] for generator in generators], dtype=torch.float64)
    drawn = torch.searchsorted(logits.cpu().double().softmax(-1).cumsum(-1), places)
    return drawn.clamp(max=logits.shape[-1] - 1).to(logits.device)


def _until(row: NDArray[np.int64], begun: int, end: int | None) -> NDArray[np.int64]:
    ends = np.flatnonzero(row[begun:] == end)
    return row[: begun + int(ends[0]) + 1] if len(ends) else row
