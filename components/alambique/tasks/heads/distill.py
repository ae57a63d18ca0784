"""Students with a head: distilled by a teacher's features or its answers, their control, and recovery after pruning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ultralytics.nn.tasks import DetectionModel

from alambique.config.heads import Heads
from alambique.data import inputs
from alambique.evaluation.measures import Metrics
from alambique.layout import DATA, INPUTS, SOFT_LABELS, WEIGHTS, Kind, teacher
from alambique.softlabels.reader import Cache
from alambique.tasks.cards import heard
from alambique.tasks.detect import network
from alambique.tasks.detect.samples import repeated
from alambique.tasks.heads import pseudo, soft_labels, trainer
from alambique.tasks.heads.shapes import Sample, Shapes
from alambique.tasks.heads.teacher import build


class Lesson(NamedTuple):
    """What is learned from.

    Attributes:
        samples: an epoch.
        taught: further arguments of `trainer.train`: the teacher whose features are matched, if one's are.
    """

    samples: list[Sample]
    taught: dict[str, Any]


def distill(project: Path, params: Heads, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from labels and what a teacher says; see `alambique.tasks.Task.distill`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by another teacher than today's.
    """
    data = Shapes.of(project / DATA, params.task)
    lesson = by_method(project, data, params)
    return _student(project, data, params, student, seed, target, "distilled", lesson, heard(project, params))


def control(project: Path, params: Heads, student: str, seed: int, target: Path) -> Metrics:
    """Train the same student from the same start for as many steps, from labels alone; see `Task.control`."""
    data = Shapes.of(project / DATA, params.task)
    return _student(project, data, params, student, seed, target, "control", Lesson(_by_labels(data), {}), [])


def recover(model: DetectionModel, project: Path, data: Shapes, params: Heads, target: Path) -> Metrics:
    """Train a pruned `model` as it is, by `distill.method`; write weights.pt and curves.csv into `target`.

    Raises:
        IntegrityError: as `distill`.
    """
    return _learn(model, data, params, by_method(project, data, params), params.prune.epochs, params.seed, target)


def by_method(project: Path, data: Shapes, params: Heads) -> Lesson:
    """The lesson of `distill.method`: an epoch has as many images in every case.

    The cache is opened whatever the method: it is an input of the stage, and one that is not whole is refused.

    Raises:
        IntegrityError: as `distill`.
    """
    how, taught = params.distill, {}
    cache = Cache.open(project / SOFT_LABELS, soft_labels.recipe(project, params, data))
    samples = _by_labels(data)
    if how.method in {"pseudo", "hybrid"}:
        samples = data.samples("train") + pseudo.labelled(data, cache, how.min_score)
    if how.method in {"feature", "hybrid"}:
        weights = project / teacher(params.teachers[0]) / WEIGHTS
        taught = {"features": weights, "feature_weight": how.feature_weight}
    return Lesson(samples, taught)


def _by_labels(data: Shapes) -> list[Sample]:
    """The labelled images alone: an image without labels would pass for background."""
    own = data.samples("train")
    return repeated(own, len(own) + len(data.images("unlabelled")))


def _student(
    project: Path,
    data: Shapes,
    params: Heads,
    student: str,
    seed: int,
    target: Path,
    kind: Kind,
    lesson: Lesson,
    told: list[str],
) -> Metrics:
    """Train a student from its start, the same for `distill` and `control`, and describe it."""
    model = build(params.networks[student], data, seed)
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
        task=params.task,
    )
    return {**metrics, **network.figures(card)}


def _learn(
    model: DetectionModel, data: Shapes, params: Heads, lesson: Lesson, epochs: int, seed: int, target: Path
) -> Metrics:
    return trainer.train(
        model,
        data,
        lesson.samples,
        target,
        image_size=params.input_size,
        epochs=epochs,
        training=params.training,
        seed=seed,
        **lesson.taught,
    )
