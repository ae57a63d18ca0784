"""What a language model is taught: its texts, or what a teacher expects in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from alambique.config.text import Distill
from alambique.tasks.text import losses, network, sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text.sequences import Samples, TokenSequence
from alambique.tasks.text.tokens import TokenLabels, TokenRecipe
from alambique.tasks.training_loop import Lesson

SPLITS = ("train", "unlabelled")
"""A language model needs no labels: texts without any are texts like others, to the control as well."""


def by_text(data: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> Lesson:
    """Every text of the dataset that is not kept for val and test."""
    texts = [text for split in SPLITS for text in data.texts(split)]
    own = sequences.require_some(sequences.encode(texts, tokenizer, max_tokens), "train")
    digests = [data.digest(split) for split in SPLITS if data.has(split)]
    return _alone(own, len(tokenizer), f"texts {digests} {tokenizers.digest(tokenizer)} {max_tokens}")


def by_teacher_text(cache: Mapping[str, TokenLabels], recipe: TokenRecipe) -> Lesson:
    """What the teacher wrote, as if it were the texts (Kim & Rush 2016, Sequence-level knowledge distillation)."""
    return _alone([row.sequence for row in cache.values()], recipe.vocabulary, f"written {recipe.digest()}")


def by_soft_labels(cache: Mapping[str, TokenLabels], recipe: TokenRecipe, how: Distill) -> Lesson:
    """The texts, and beside each of their tokens what else the teacher expected there."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found, learned = network.logits(model, batch["ids"], recipe.vocabulary), batch["learned"]
        teacher = losses.teacher_events(batch["logits"], batch["rest"], how.temperature)
        student = losses.student_events(found[:, :-1][learned[:, 1:]], batch["tokens"].long(), how.temperature)
        far = losses.divergence(teacher, student, how.divergence, how.beta)
        parts = {"divergence": how.weight * how.temperature**2 * far}
        if how.weight < 1:
            parts["next_token"] = (1 - how.weight) * losses.next_token(found, batch["ids"], learned)
        return parts

    rows = list(cache.values())
    settings = how.model_dump(include={"divergence", "beta", "temperature", "weight"})
    return Lesson(lambda _: Samples(rows), _collate_taught, loss, f"soft {recipe.digest()} {settings}", ("divergence",))


def _alone(own: Sequence[TokenSequence], vocabulary: int, identity: str) -> Lesson:
    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        found = network.logits(model, batch["ids"], vocabulary)
        return {"next_token": losses.next_token(found, batch["ids"], batch["learned"])}

    return Lesson(lambda _: Samples(own), sequences.collate, loss, identity)


def _collate_taught(rows: Sequence[TokenLabels]) -> dict[str, Tensor]:
    """As `sequences.collate`, and, of the places before learned tokens alone, what the teacher expects: (places, …)."""
    batch = sequences.collate([row.sequence for row in rows])
    places = [np.flatnonzero(row.learned[1:]) for row in rows]
    for name in ("tokens", "logits", "rest"):
        found = np.concatenate([getattr(row, name)[place] for row, place in zip(rows, places, strict=True)])
        # Indices have 32 bits at most until they are on their device.
        batch[name] = torch.from_numpy(found.astype(np.int32) if name == "tokens" else found)
    return batch
