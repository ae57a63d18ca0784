"""Training objectives of causal language models: the texts themselves, or what a teacher writes or expects in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from alambique.config.text import Distill
from alambique.softlabels import topk
from alambique.softlabels.topk import kl
from alambique.tasks.classifiers.soft_labels import digests
from alambique.tasks.training_loop import Batch, TrainingObjective
from alambique.tasks.transformers import sequences, tokenizers
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.models import token_logits
from alambique.tasks.transformers.sequences import TokenSequence
from alambique.tasks.transformers.soft_labels import TokenLabels, TokenRecipe


def by_text(dataset: Texts, tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> TrainingObjective:
    """The next tokens of the texts of train and unlabelled: a language model needs no labels."""
    encoded = sequences.require_some(sequences.encode(dataset.training_texts(), tokenizer, max_tokens), "train")
    splits = list(digests(dataset).values())
    return _next_token(encoded, len(tokenizer), f"texts {splits} {tokenizers.digest(tokenizer)} {max_tokens}")


def by_teacher_text(cache: Mapping[str, TokenLabels], recipe: TokenRecipe) -> TrainingObjective:
    """The next tokens of what the teacher wrote (Kim & Rush 2016, Sequence-level knowledge distillation)."""
    return _next_token([row.sequence for row in cache.values()], recipe.vocabulary, f"written {recipe.digest()}")


def by_soft_labels(cache: Mapping[str, TokenLabels], recipe: TokenRecipe, how: Distill) -> TrainingObjective:
    """The next tokens of the texts, and the divergence from the teacher's distribution of each."""

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits, loss_mask = token_logits(model, batch["ids"], recipe.vocabulary), batch["loss_mask"]
        teacher = topk.teacher_events(batch["log_probabilities"], batch["log_remaining_mass"], how.temperature)
        student = topk.student_events(logits[:, :-1][loss_mask[:, 1:]], batch["tokens"].long(), how.temperature)
        from_teacher = divergence(teacher, student, how.divergence, how.beta)
        parts = {"divergence": how.weight * how.temperature**2 * from_teacher}
        if how.weight < 1:
            parts["next_token"] = (1 - how.weight) * next_token(logits, batch["ids"], loss_mask)
        return parts

    rows = list(cache.values())
    settings = how.model_dump(include={"divergence", "beta", "temperature", "weight"})
    identity = f"soft {recipe.digest()} {settings}"
    return TrainingObjective(lambda _: rows, _collate_with_teacher, loss, identity, ("divergence",))


def next_token(logits: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Cross-entropy of the tokens in the loss mask, given those before each.

    Args:
        logits: (batch, tokens, vocabulary).
        ids, loss_mask: (batch, tokens).
    Returns:
        scalar, nats, mean over these tokens.
    """
    kept = loss_mask[:, 1:]
    return functional.cross_entropy(logits[:, :-1][kept], ids[:, 1:][kept])


def divergence(teacher: Tensor, student: Tensor, kind: str, beta: float = 0.5) -> Tensor:
    """How far the student's distribution is from the teacher's.

    Args:
        teacher, student: log-probabilities of the same events, see `softlabels.topk`, (n, events).
        kind: forward, KL(teacher ‖ student); reverse, KL(student ‖ teacher); or jsd, the generalised Jensen–Shannon
            divergence β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student (Agarwal et al.
            2024, On-policy distillation of language models, eq. 2).
        beta: of jsd, between 0 and 1.
    Returns:
        scalar, nats, mean over the n.
    """
    match kind:
        case "forward":
            return kl(teacher, student).mean()
        case "reverse":
            return kl(student, teacher).mean()
        case "jsd":
            weights = torch.tensor([beta, 1 - beta], device=teacher.device).log()
            mixed = torch.stack((teacher + weights[0], student + weights[1])).logsumexp(0)
            return beta * kl(teacher, mixed).mean() + (1 - beta) * kl(student, mixed).mean()
    raise ValueError(kind)


def _next_token(encoded: Sequence[TokenSequence], vocabulary: int, identity: str) -> TrainingObjective:
    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits = token_logits(model, batch["ids"], vocabulary)
        return {"next_token": next_token(logits, batch["ids"], batch["loss_mask"])}

    return TrainingObjective(lambda _: encoded, sequences.collate, loss, identity)


def _collate_with_teacher(rows: Sequence[TokenLabels]) -> Batch:
    """As `sequences.collate`, and the teacher's distributions of the tokens in the loss mask alone, (places, …)."""
    batch = sequences.collate([row.sequence for row in rows])
    places = [np.flatnonzero(row.loss_mask[1:]) for row in rows]
    for name in ("tokens", "log_probabilities", "log_remaining_mass"):
        values = np.concatenate([getattr(row, name)[place] for row, place in zip(rows, places, strict=True)])
        # Indices have 32 bits at most until they are on their device.
        batch[name] = torch.from_numpy(values.astype(np.int32) if name == "tokens" else values)
    return batch
