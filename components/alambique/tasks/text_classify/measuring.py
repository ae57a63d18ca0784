"""How well a network tells the classes of val apart while it is trained."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding
from alambique.tasks.text_classify.soft_labels import answers
from alambique.tasks.training_loop import Measure


def on_val(data: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Measure:
    """What measures a network in training on val: top-1, then the negative log-likelihood, nats.

    Raises:
        DataError: val is empty, or one of its texts has no label.
    """
    own = encoding.labelled(data, "val", tokenizer, max_tokens)
    pad = tokenizer.pad_token_id

    def measure(model: nn.Module) -> dict[str, float]:
        found = dict(answers(model, own, pad))
        chances = torch.stack([found[each.name] for each in own])
        truth = torch.tensor([each.label for each in own])
        return {
            "top1": float((chances.argmax(1) == truth).double().mean()),
            "nll": float(nn.functional.nll_loss(chances, truth)),
        }

    return measure
