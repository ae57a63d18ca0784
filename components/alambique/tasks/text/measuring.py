"""How well a model foretells texts: next-token accuracy, perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from alambique.tasks.text import network, sequences
from alambique.tasks.text.data import Text
from alambique.tasks.training_loop import Measure


def on(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """What measures a network in training on some texts: accuracy, then perplexity."""
    own = sequences.require_some(sequences.encode(texts, tokenizer, max_tokens), "val")
    vocabulary = len(tokenizer)

    @torch.inference_mode()
    def measure(model: nn.Module) -> dict[str, float]:
        right = nats = tokens = 0.0
        device = next(model.parameters()).device
        for part in sequences.alike(own, vocabulary):
            batch = sequences.collate(part)
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
