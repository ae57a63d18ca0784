"""A teacher: fine-tuned from given weights, trained from scratch, or taken as it is; and measured on val."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique import files
from alambique.config.text import Params, Teacher
from alambique.data import inputs
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, INPUTS
from alambique.tasks import training_loop
from alambique.tasks.text import folders, lessons, measuring, network, sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts


def teacher(project: Path, params: Params, name: str, target: Path) -> Metrics:
    """Train or take a teacher, and measure it on val; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they are no causal language model.
        ConfigurationError: it cannot take texts of `input_size`, or its training diverged.
    """
    data, asked = Texts.load(project / DATA), params.teacher[name]
    given, source = inputs.given(project / INPUTS / "teachers", name, asked.sha256)
    tokenizer = speaking(data, given, params.training.vocabulary)
    model = _begin(asked, given, tokenizer, params)
    val = measuring.on(data.texts("val"), tokenizer, params.input_size)
    if asked.source == "train":
        lesson = lessons.by_text(data, tokenizer, params.input_size)
        metrics = training_loop.train(
            model, lesson, target, epochs=asked.epochs, training=params.training, seed=params.seed, measure=val
        )
        folders.save(model, tokenizer, target)
    else:
        _take(given, tokenizer, target)
        metrics = {f"val_{name}": value for name, value in val(model).items()}
    card = network.write_card(
        target,
        "teacher",
        model,
        tokenizer,
        params.input_size,
        data.digest("train"),
        source=source,
        val_accuracy=metrics["val_accuracy"],
    )
    return {**metrics, **folders.figures(card)}


def speaking(data: Texts, given: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
    """The tokenizer of teacher and students: that of the given weights, or else one learned from the dataset's texts.

    Args:
        given: a Hugging Face folder.
        vocabulary: tokens of one that is learned.
    """
    if given is not None:
        tokenizer = tokenizers.load(given)
    else:
        tokenizer = tokenizers.train_bpe(tokenizers.corpus(data), vocabulary)
    sequences.require_template(tokenizer, data.texts("train"))
    return tokenizer


def _take(given: Path | None, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Copy the given folder as it is, but for a chat template that it lacks."""
    if given is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    shutil.copytree(given, target / folders.MODEL)
    if tokenizers.load(given).chat_template != tokenizer.chat_template:
        tokenizers.save(tokenizer, target / folders.MODEL)
    files.write_text(target / CURVES, "")


def _begin(asked: Teacher, given: Path | None, tokenizer: PreTrainedTokenizerFast, params: Params) -> PreTrainedModel:
    if given is not None:
        return network.open_folder(given, tokenizer, params.input_size)
    return network.build(asked.network, tokenizer, params.input_size, params.seed)
