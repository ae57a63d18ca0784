"""Pretrain a classifier's encoder on texts without labels, by masked language modelling."""

from __future__ import annotations

import hashlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from alambique.config.text_classify import Params
from alambique.errors import ConfigurationError
from alambique.process.resume_dir import state_file
from alambique.tasks import trainer_state, training_loop
from alambique.tasks.classifiers.soft_labels import digests
from alambique.tasks.trainer_state import PriorTraining
from alambique.tasks.training_loop import Batch, Measure, TrainingObjective
from alambique.tasks.transformers import encoding
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded

MASKED = 0.15
"""Fraction of a text's tokens that are masked (Devlin et al. 2019, BERT, §3.1), each by the mask token."""
IGNORED = -100
"""In place of a token that is not to be predicted."""


def pretrain(network: Network, dataset: Texts, params: Params, steps: int) -> PriorTraining:
    """Train the encoder of a classifier, in place, on the texts of train and unlabelled.

    Returns:
        what the training that follows keeps in its states, so that a retry does not begin here again.
    Raises:
        ConfigurationError: the tokenizer has no mask token, or the architecture has no masked language model.
    """
    model, tokenizer, _ = network
    encoded = encoding.encode(dataset.training_texts(), tokenizer, dataset.classes, params.input_size)
    objective = TrainingObjective(
        lambda _: encoded,
        partial(_mask, tokenizer=tokenizer),
        lambda model, batch: {"masked_tokens": _loss(model, batch)},
        f"masked tokens {list(digests(dataset).values())} {len(tokenizer)}",
    )
    stage = hashlib.sha256(repr((objective.identity, steps, params.training, params.seed)).encode()).hexdigest()
    if (file := state_file()) and (prior := trainer_state.read_prior(file, stage)):
        model.load_state_dict(prior.initial_state)
        return prior
    with tempfile.TemporaryDirectory() as scratch:
        training_loop.train(
            _with_token_head(model, tokenizer, params.seed),
            objective,
            Path(scratch),
            steps=steps,
            training=params.training.model_copy(update={"patience": None}),
            seed=params.seed,
            measure=_likelihood(encoded[: params.training.batch], tokenizer),
        )
    return PriorTraining(stage, [], dict(model.state_dict()))


def _with_token_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, seed: int) -> nn.Module:
    """The encoder of `model` itself, no copy, with a new head that predicts tokens."""
    if tokenizer.mask_token_id is None:
        raise ConfigurationError("teacher.pretrain_steps: the tokenizer of its weights has no mask token; make it 0")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            masked: Any = AutoModelForMaskedLM.from_config(model.config)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ConfigurationError(
            f"teacher.pretrain_steps: {type(model).__name__} cannot: {error}; make it 0"
        ) from error
    setattr(masked, masked.base_model_prefix, model.base_model)
    masked.tie_weights()
    return masked  # type: ignore[no-any-return]


def _mask(batch: list[Encoded], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """A batch with some tokens masked, special ones never, and what they were."""
    collated = encoding.collate(batch, tokenizer.pad_token_id)
    ids = collated["ids"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    masked = (torch.rand(ids.shape) < MASKED) & ~special
    return {
        "ids": ids.masked_fill(masked, tokenizer.mask_token_id),
        "mask": collated["mask"],
        "truth": ids.masked_fill(~masked, IGNORED),
    }


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    logits = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits
    total = nn.functional.cross_entropy(logits.flatten(0, 1), batch["truth"].flatten(), reduction="sum")
    return total / (batch["truth"] != IGNORED).sum().clamp(min=1)


def _likelihood(texts: list[Encoded], tokenizer: PreTrainedTokenizerFast) -> Measure:
    """Measures a few of the training texts, for the log: nothing is decided by it."""

    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            batch = {name: tensor.to(device) for name, tensor in _mask(texts, tokenizer).items()}
        return {"likelihood": -float(_loss(model, batch))}

    return measure
