"""Students: distilled from labels and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from pathlib import Path

from alambique.config.classify import Params
from alambique.data import inputs
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, WEIGHTS, Kind
from alambique.softlabels.reader import Cache
from alambique.tasks import training_loop
from alambique.tasks.cards import heard
from alambique.tasks.classify import lessons, measuring, network, weights
from alambique.tasks.classify.architectures import Classifier
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.soft_labels import recipe
from alambique.tasks.training_loop import Lesson


def distill(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from labels and what teachers see; see `alambique.tasks.Task.distill`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by other teachers than today's.
    """
    data = Dataset.load(project / DATA)
    lesson, told = _by_method(project, data, params), heard(project, params)
    return _student(project, data, params, student, seed, target, "distilled", lesson, told)


def control(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train the same student from the same start for as many steps, from labels alone; see `Task.control`.

    What the distilled student does better than this one is what the teacher and the unlabelled images are worth.
    """
    data = Dataset.load(project / DATA)
    return _student(project, data, params, student, seed, target, "control", _by_label(data, params), [])


def recover(model: Classifier, project: Path, params: Params, target: Path) -> Metrics:
    """Train a pruned network as it is, in place, as students are distilled; write curves.csv into `target`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by other teachers than today's.
    """
    data = Dataset.load(project / DATA)
    return training_loop.train(
        model,
        _by_method(project, data, params),
        target,
        epochs=params.prune.epochs,
        training=params.training,
        seed=params.seed,
        measure=measuring.on_val(data, params.input_size),
    )


def _student(
    project: Path,
    data: Dataset,
    params: Params,
    student: str,
    seed: int,
    target: Path,
    kind: Kind,
    lesson: Lesson,
    told: list[str],
) -> Metrics:
    """Train a student from its start, the same for `distill` and `control`, and describe it."""
    made = network.build(params.networks[student], data.classes, seed)
    given, source = inputs.given(project / INPUTS / "students", student)
    if given is not None:
        weights.start_from(made, given)
    metrics = training_loop.train(
        made.model,
        lesson,
        target,
        epochs=params.distill.epochs,
        training=params.training,
        seed=seed,
        measure=measuring.on_val(data, params.input_size),
    )
    network.save(made, target / WEIGHTS)
    card = network.write_card(
        target, kind, params.input_size, data.digest("train"), student=student, teachers=told, source=source
    )
    return {**metrics, **network.figures(card)}


def _by_method(project: Path, data: Dataset, params: Params) -> Lesson:
    """The lesson of `distill.method`: an epoch has as many images in every case."""
    if params.distill.method == "none":
        return _by_label(data, params)
    made = recipe(project, params, data)
    return lessons.by_soft_labels(data, Cache.open(project / SOFT_LABELS, made), made, params.distill)


def _by_label(data: Dataset, params: Params) -> Lesson:
    images = sum(len(data.images(split)) for split in ("train", "unlabelled"))
    return lessons.by_label(data, params.input_size, params.training.augment, images)
