"""Students: distilled from texts and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.config.text import Params
from alambique.data import inputs
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, Kind
from alambique.softlabels.reader import Cache
from alambique.tasks import training_loop
from alambique.tasks.cards import heard
from alambique.tasks.text import adapters, folders, lessons, measuring, network
from alambique.tasks.text.data import Texts
from alambique.tasks.text.soft_labels import recipe, require_same_tokens
from alambique.tasks.text.teacher import speaking
from alambique.tasks.trainer_state import NOTHING, Earlier
from alambique.tasks.training_loop import Lesson


def distill(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from texts and what teachers expect; see `alambique.tasks.Task.distill`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other texts or by other teachers than today's.
        ConfigurationError: the student's tokens are not the teacher's.
    """
    data = Texts.load(project / DATA)
    model, tokenizer, source = _begin(project, data, params, student, seed)
    require_same_tokens(project, params, tokenizer, student)
    lesson, told = _by_method(project, data, params, tokenizer), heard(project, params)
    return _student(project, model, tokenizer, data, params, student, seed, target, "distilled", lesson, told, source)


def control(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train the same student from the same start for as many steps, from the texts alone; see `Task.control`."""
    data = Texts.load(project / DATA)
    model, tokenizer, source = _begin(project, data, params, student, seed)
    lesson = lessons.by_text(data, tokenizer, params.input_size)
    return _student(project, model, tokenizer, data, params, student, seed, target, "control", lesson, [], source)


def recover(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    project: Path,
    params: Params,
    target: Path,
    earlier: Earlier = NOTHING,
) -> Metrics:
    """Train a pruned model as it is, in place, as students are distilled; write curves.csv into `target`.

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
        measure=measuring.on(data.texts("val"), tokenizer, params.input_size),
        earlier=earlier,
    )


def _begin(
    project: Path, data: Texts, params: Params, student: str, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, str | None]:
    """A student's start, its tokenizer, and where both came from."""
    given, source = inputs.given(project / INPUTS / "students", student)
    tokenizer = speaking(data, given, params.training.vocabulary)
    if given is not None and params.networks[student].weights:
        return network.open_folder(given, tokenizer, params.input_size), tokenizer, source
    return network.build(params.networks[student], tokenizer, params.input_size, seed), tokenizer, source


def _student(
    project: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    data: Texts,
    params: Params,
    student: str,
    seed: int,
    target: Path,
    kind: Kind,
    lesson: Lesson,
    told: list[str],
    source: str | None,
) -> Metrics:
    """Train a student from its start, the same way for `distill` and `control`, and describe it."""
    lora = params.networks[student].lora
    learner: nn.Module = adapters.adapt(model, lora, seed) if lora else model
    metrics = training_loop.train(
        learner,
        lesson,
        target,
        epochs=params.distill.epochs,
        training=params.training,
        seed=seed,
        measure=measuring.on(data.texts("val"), tokenizer, params.input_size),
    )
    model = adapters.merge(learner) if lora else model
    folders.save(model, tokenizer, target)
    card = network.write_card(
        target,
        kind,
        model,
        tokenizer,
        params.input_size,
        data.digest("train"),
        student=student,
        teachers=told,
        source=source,
        val_accuracy=metrics["val_accuracy"],
    )
    return {**metrics, **folders.figures(card)}


def _by_method(project: Path, data: Texts, params: Params, tokenizer: PreTrainedTokenizerFast) -> Lesson:
    """The lesson of `distill.method`: an epoch has as many texts in every case."""
    if params.distill.method == "none":
        return lessons.by_text(data, tokenizer, params.input_size)
    made = recipe(project, params, data)
    cache = Cache.open(project / SOFT_LABELS, made)
    if params.distill.method == "sequence":
        return lessons.by_teacher_text(cache, made)
    return lessons.by_soft_labels(cache, made, params.distill)
