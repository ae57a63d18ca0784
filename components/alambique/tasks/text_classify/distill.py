"""Students: distilled from labels and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.config.text_classify import Params
from alambique.data import inputs
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, Kind
from alambique.softlabels.reader import Cache
from alambique.tasks import training_loop
from alambique.tasks.cards import heard
from alambique.tasks.text import folders
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import lessons, measuring, network
from alambique.tasks.text_classify.soft_labels import SPLITS, recipe
from alambique.tasks.text_classify.teacher import reading
from alambique.tasks.training_loop import Lesson


def distill(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from labels and what teachers make of all texts; see `alambique.tasks.Task.distill`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other texts or by other teachers than today's.
    """
    return _student(project, params, student, seed, target, "distilled")


def control(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train the same student from the same start for as many steps, from labels alone; see `Task.control`.

    What the distilled student does better than this one is what the teacher and the unlabelled texts are worth.
    """
    return _student(project, params, student, seed, target, "control")


def recover(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, project: Path, params: Params, target: Path
) -> Metrics:
    """Train a pruned network as it is, in place, as students are distilled; write curves.csv into `target`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other texts or by other teachers than today's.
    """
    data = Texts.load(project / DATA)
    return training_loop.train(
        model,
        _by_method(project, data, params, tokenizer),
        target,
        epochs=params.prune.epochs,
        training=params.training,
        seed=params.seed,
        measure=measuring.on_val(data, tokenizer, params.input_size),
    )


def _student(project: Path, params: Params, student: str, seed: int, target: Path, kind: Kind) -> Metrics:
    """Train a student from its start, the same for `distill` and `control`, and describe it."""
    data = Texts.load(project / DATA)
    given, source = inputs.given(project / INPUTS / "students", student)
    tokenizer = reading(data, given, params.training.vocabulary)
    model: PreTrainedModel
    if given is None:
        model = network.build(params.networks[student], tokenizer, data.classes, params.input_size, seed)
    else:
        model = network.open_folder(given, tokenizer, data.classes, params.input_size, seed)
    alone = kind == "control"
    lesson = (_by_label if alone else _by_method)(project, data, params, tokenizer)
    metrics = training_loop.train(
        model,
        lesson,
        target,
        epochs=params.distill.epochs,
        training=params.training,
        seed=seed,
        measure=measuring.on_val(data, tokenizer, params.input_size),
    )
    folders.save(model, tokenizer, target)
    card = network.write_card(
        target,
        kind,
        model,
        tokenizer,
        data.classes,
        params.input_size,
        data.digest("train"),
        student=student,
        teachers=[] if alone else heard(project, params),
        source=source,
    )
    return {**metrics, **folders.figures(card)}


def _by_method(project: Path, data: Texts, params: Params, tokenizer: PreTrainedTokenizerFast) -> Lesson:
    """The lesson of `distill.method`: an epoch has as many texts in every case."""
    if params.distill.method == "none":
        return _by_label(project, data, params, tokenizer)
    made = recipe(project, params, data)
    cache = Cache.open(project / SOFT_LABELS, made)
    return lessons.by_soft_labels(data, tokenizer, params.input_size, cache, made, params.distill)


def _by_label(project: Path, data: Texts, params: Params, tokenizer: PreTrainedTokenizerFast) -> Lesson:
    texts = sum(len(data.texts(split)) for split in SPLITS)
    return lessons.by_label(data, tokenizer, params.input_size, texts)
