"""What a teacher can learn from texts without labels: to foretell the tokens that are hidden in them."""

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
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding
from alambique.tasks.text_classify.encoding import Encoded
from alambique.tasks.text_classify.lessons import Samples
from alambique.tasks.text_classify.soft_labels import SPLITS
from alambique.tasks.trainer_state import Earlier
from alambique.tasks.training_loop import Batch, Lesson

HIDDEN = 0.15
"""The share of a text's tokens that is hidden (Devlin et al. 2019, BERT, §3.1), each behind the mask."""
IGNORED = -100
"""In place of a token that nobody has to foretell."""


def pretrain(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, data: Texts, params: Params, epochs: int
) -> Earlier:
    """Train the encoder inside of `model`, in place, on the texts of train and unlabelled.

    Returns:
        what the training that follows keeps in its states, so that a retry does not begin here again.
    Raises:
        ConfigurationError: the tokenizer has no mask, or the architecture cannot foretell hidden tokens.
    """
    texts = [text for split in SPLITS for text in data.texts(split)]
    own = encoding.encode(texts, tokenizer, data.classes, params.input_size)
    lesson = _lesson(own, tokenizer, [data.digest(split) for split in SPLITS if data.has(split)])
    stage = hashlib.sha256(repr((lesson.identity, epochs, params.training, params.seed)).encode()).hexdigest()
    if (file := state_file()) and (before := trainer_state.earlier(file, stage)):
        model.load_state_dict(before.begun)
        return before
    with tempfile.TemporaryDirectory() as scratch:
        training_loop.train(
            _reader(model, tokenizer, params.seed),
            lesson,
            Path(scratch),
            epochs=epochs,
            training=params.training.model_copy(update={"patience": None}),
            seed=params.seed,
            measure=_on(own[: params.training.batch], tokenizer),
        )
    return Earlier(stage, [], dict(model.state_dict()))


def _reader(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, seed: int) -> nn.Module:
    """The encoder of `model`, the same and no copy, with a new head that foretells tokens."""
    if tokenizer.mask_token_id is None:
        raise ConfigurationError("teacher.pretrain: the tokenizer of its weights has no mask token; make it 0")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            reader: Any = AutoModelForMaskedLM.from_config(model.config)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ConfigurationError(f"teacher.pretrain: {type(model).__name__} cannot: {error}; make it 0") from error
    setattr(reader, reader.base_model_prefix, model.base_model)
    reader.tie_weights()
    return reader  # type: ignore[no-any-return]


def _lesson(own: list[Encoded], tokenizer: PreTrainedTokenizerFast, digests: list[str]) -> Lesson:
    return Lesson(
        lambda _: Samples(own, range(len(own))),
        partial(_hide, tokenizer=tokenizer),
        lambda model, batch: {"hidden_tokens": _loss(model, batch)},
        f"hidden tokens {digests} {len(tokenizer)}",
    )


def _hide(batch: list[Encoded], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """A batch with some tokens behind the mask, special ones never, and what they were."""
    made = encoding.collate(batch, tokenizer.pad_token_id)
    ids = made["ids"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    hidden = (torch.rand(ids.shape) < HIDDEN) & ~special
    return {
        "ids": ids.masked_fill(hidden, tokenizer.mask_token_id),
        "mask": made["mask"],
        "truth": ids.masked_fill(~hidden, IGNORED),
    }


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    found = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits
    total = nn.functional.cross_entropy(found.flatten(0, 1), batch["truth"].flatten(), reduction="sum")
    return total / (batch["truth"] != IGNORED).sum().clamp(min=1)


def _on(own: list[Encoded], tokenizer: PreTrainedTokenizerFast) -> training_loop.Measure:
    """A look at a few of the texts themselves, for the log: nothing is decided by it."""

    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            batch = {name: tensor.to(device) for name, tensor in _hide(own, tokenizer).items()}
        return {"likelihood": -float(_loss(model, batch))}

    return measure
