"""A teacher: fine-tuned from given weights, trained from scratch, or taken as it is; and measured on val."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique import files
from alambique.config.text_classify import Params, Teacher
from alambique.data import inputs
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES, DATA, INPUTS
from alambique.tasks import training_loop
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import lessons, measuring, network
from alambique.tasks.text_classify.pretraining import pretrain
from alambique.tasks.trainer_state import NOTHING


def teacher(project: Path, params: Params, name: str, target: Path) -> Metrics:
    """Train or take a teacher, and measure it on val; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they are no encoder of texts, or (fetch) tell other classes apart.
        ConfigurationError: it cannot take texts of `input_size`, or its training diverged.
    """
    data, asked = Texts.load(project / DATA), params.teacher[name]
    given, source = inputs.given(project / INPUTS / "teachers", name, asked.sha256)
    if asked.source == "fetch":
        _require_finished(given, data)
    tokenizer = reading(data, given, params.training.vocabulary)
    model = _begin(asked, given, tokenizer, data, params)
    measure = measuring.on_val(data, tokenizer, params.input_size)
    if asked.source == "train":
        metrics = training_loop.train(
            model,
            lessons.by_label(data, tokenizer, params.input_size),
            target,
            epochs=asked.epochs,
            training=params.training,
            seed=params.seed,
            measure=measure,
            earlier=pretrain(model, tokenizer, data, params, asked.pretrain) if asked.pretrain else NOTHING,
        )
    else:
        files.write_text(target / CURVES, "")
        metrics = {f"val_{name}": value for name, value in measure(model).items()}
    folders.save(model, tokenizer, target)
    card = network.write_card(
        target, "teacher", model, tokenizer, data.classes, params.input_size, data.digest("train"), source=source
    )
    return {**metrics, **folders.figures(card)}


def reading(data: Texts, given: Path | None, vocabulary: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the given weights, or else one learned from the dataset's texts.

    Args:
        given: a Hugging Face folder.
        vocabulary: tokens of one that is learned, at most.
    Raises:
        DataError: the given one cannot fill up texts of unequal length.
    """
    if given is None:
        return tokenizers.train_wordpiece(tokenizers.corpus(data), vocabulary)
    tokenizer = tokenizers.load(given)
    if tokenizer.pad_token_id is None:
        raise DataError(f"the tokenizer in {given} has no padding token; give it one, or another model")
    return tokenizer


def _begin(
    asked: Teacher, given: Path | None, tokenizer: PreTrainedTokenizerFast, data: Texts, params: Params
) -> PreTrainedModel:
    if given is not None:
        return network.open_folder(given, tokenizer, data.classes, params.input_size, params.seed)
    return network.build(asked.network, tokenizer, data.classes, params.input_size, params.seed)


def _require_finished(given: Path | None, data: Texts) -> None:
    if given is None:
        raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
    if (found := network.classes_of(given)) != data.classes:
        raise DataError(
            f"{given} tells {found} apart, but the dataset's classes are {data.classes}; fine-tune it: source: train"
        )
