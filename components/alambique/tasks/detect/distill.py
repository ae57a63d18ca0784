"""Students: distilled from labels and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params
from alambique.data import inputs
from alambique.data.dataset import Dataset
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, WEIGHTS, Kind, teacher
from alambique.softlabels.reader import Cache
from alambique.tasks.cards import heard
from alambique.tasks.detect import network, samples, trainer, trust
from alambique.tasks.detect.branches import TaughtLoss
from alambique.tasks.detect.samples import Sample
from alambique.tasks.detect.soft_labels import recipe
from alambique.tasks.detect.teaching import Teaching
from alambique.tasks.trainer_state import NOTHING, Earlier

Lesson = tuple[list[Sample], Teaching]
"""What is learned from, an epoch of it, and what is heard of teachers."""


def distill(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from labels and what teachers say; see `alambique.tasks.Task.distill`.

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
    return _student(project, data, params, student, seed, target, "control", _by_labels(data), [])


def recover(
    model: DetectionModel, project: Path, params: Params, epochs: int, target: Path, earlier: Earlier = NOTHING
) -> Metrics:
    """Train `model` as it is from labels and soft labels; write weights.pt and curves.csv into `target`.

    The caller describes the result with `network.write_card`.

    Args:
        model: a pruned detector; its layers are kept.
        project: the project's root, with data/ and soft_labels/.
        params: its params.yaml.
        epochs: over labelled and unlabelled images.
        target: an existing folder.
        earlier: trainings before it, which the curves and metrics go on from.
    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by other teachers than today's.
    """
    data = Dataset.load(project / DATA)
    return _learn(model, data, params, _by_method(project, data, params), epochs, params.seed, target, earlier)


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
    model = network.build(params.networks[student], data.classes, seed)
    given, source = inputs.given(project / INPUTS / "students", student)
    if given is not None:
        network.start_from(model, given)
    metrics = _learn(model, data, params, lesson, params.distill.epochs, seed, target)
    card = network.write_card(
        target,
        kind=kind,
        student=student,
        image_size=params.input_size,
        data=data.digest("train"),
        teachers=told,
        source=source,
    )
    return {**metrics, **network.figures(card)}


def _learn(
    model: DetectionModel,
    data: Dataset,
    params: Params,
    lesson: Lesson,
    epochs: int,
    seed: int,
    target: Path,
    earlier: Earlier = NOTHING,
) -> Metrics:
    own, teaching = lesson
    return trainer.train(
        model,
        data,
        own,
        target,
        image_size=params.input_size,
        epochs=epochs,
        training=params.training,
        seed=seed,
        teaching=teaching,
        earlier=earlier,
    )


def _by_method(project: Path, data: Dataset, params: Params) -> Lesson:
    """The lesson of `distill.method`: an epoch has as many images in every case."""
    soft = params.distill.method in {"soft", "hybrid"}
    own, taught = _by_soft_labels(project, data, params) if soft else _by_labels(data)
    if params.distill.method in {"feature", "hybrid"}:
        weights = project / teacher(params.teachers[0]) / WEIGHTS
        taught = taught._replace(features=weights, feature_weight=params.distill.feature_weight)
    return own, taught


def _by_labels(data: Dataset) -> Lesson:
    """The labelled images alone: an image without labels would pass for background."""
    own = samples.labelled(data, "train")
    return samples.repeated(own, len(own) + len(data.images("unlabelled"))), Teaching()


def _by_soft_labels(project: Path, data: Dataset, params: Params) -> Lesson:
    how = params.distill.model_dump(include={"temperature", "weight", "anneal"})
    cache = Cache.open(project / SOFT_LABELS, recipe(project, params, data))
    own = samples.taught(data, cache, trust.learn(data, cache), params.distill.min_label_probability)
    return own, Teaching(partial(TaughtLoss, **how))
