"""How well a model foretells texts: next-token accuracy, perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from alambique.tasks.learning import Measure
from alambique.tasks.text import network, sequences
from alambique.tasks.text.data import Text

BATCH = 32


def on(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """What measures a network in training on some texts: accuracy, then perplexity."""
    # Of about one length in each batch.
    own = sorted(sequences.encode(texts, tokenizer, max_tokens), key=lambda each: (len(each.ids), each.name))
    sequences.require_some(own, "val")
    vocabulary = len(tokenizer)

    @torch.inference_mode()
    def measure(model: nn.Module) -> dict[str, float]:
        right = nats = tokens = 0.0
        device = next(model.parameters()).device
        for start in range(0, len(own), BATCH):
            batch = sequences.collate(own[start : start + BATCH])
            ids, kept = batch["ids"].to(device), batch["learned"][:, 1:].to(device)
            logits = network.logits(model, ids, vocabulary)[:, :-1][kept].float()
            truth = ids[:, 1:][kept]
            right += float((logits.argmax(-1) == truth).sum())
            nats += float(nn.functional.cross_entropy(logits, truth, reduction="sum"))
            tokens += len(truth)
        return {"accuracy": right / tokens, "perplexity": perplexity(nats / tokens)}

    return measure


def perplexity(nats: float) -> float:
    """Of a mean cross-entropy; infinite where no number holds it."""
    return math.exp(nats) if nats < 700 else math.inf
