"""Students: distilled from labels and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import DetectionModel

from alambique.config import Params
from alambique.data.dataset import Dataset
from alambique.layout import DATA, INPUTS, SOFT_LABELS
from alambique.softlabels.reader import Cache
from alambique.tasks import Metrics
from alambique.tasks.detect import network, samples, trainer, trust
from alambique.tasks.detect.branches import BoxesLoss
from alambique.tasks.detect.soft_labels import recipe
from alambique.tasks.detect.teacher import given_weights


def distill(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train a student from labels and soft labels; see `alambique.tasks.Task.distill`.

    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by other teachers than today's.
    """
    data = Dataset.load(project / DATA)
    cache = open_cache(project, params, data)
    model, source = _student(project, params, data, student, seed)
    metrics = _learn(model, data, cache, params, params.distill.epochs, seed, target)
    card = network.write_card(
        target,
        kind="distilled",
        student=student,
        image_size=params.image_size,
        data=data.digest("train"),
        teachers=cache.recipe.teachers,
        source=source,
    )
    return {**metrics, **network.figures(card)}


def control(project: Path, params: Params, student: str, seed: int, target: Path) -> Metrics:
    """Train the same student from the same start for as many steps, from labels alone; see `Task.control`.

    What the distilled student does better than this one is what the teacher and the unlabelled images are worth.
    """
    data = Dataset.load(project / DATA)
    model, source = _student(project, params, data, student, seed)
    own = samples.labelled(data, "train")
    metrics = trainer.train(
        model,
        data,
        samples.repeated(own, len(own) + len(data.images("unlabelled"))),
        target,
        image_size=params.image_size,
        epochs=params.distill.epochs,
        training=params.training,
        seed=seed,
    )
    card = network.write_card(
        target,
        kind="control",
        student=student,
        image_size=params.image_size,
        data=data.digest("train"),
        source=source,
    )
    return {**metrics, **network.figures(card)}


def recover(model: DetectionModel, project: Path, params: Params, epochs: int, target: Path) -> Metrics:
    """Train `model` as it is from labels and soft labels; write weights.pt and curves.csv into `target`.

    The caller describes the result with `network.write_card`.

    Args:
        model: a pruned detector; its layers are kept.
        project: the project's root, with data/ and soft_labels/.
        params: its params.yaml.
        epochs: over labelled and unlabelled images.
        target: an existing folder.
    Raises:
        IntegrityError: the cache is damaged, or was made from other images or by other teachers than today's.
    """
    data = Dataset.load(project / DATA)
    return _learn(model, data, open_cache(project, params, data), params, epochs, params.seed, target)


def open_cache(project: Path, params: Params, data: Dataset) -> Cache[Any]:
    """The soft labels of today's images by today's teachers."""
    return Cache.open(project / SOFT_LABELS, recipe(project, params, data))


def _learn(
    model: DetectionModel, data: Dataset, cache: Cache[Any], params: Params, epochs: int, seed: int, target: Path
) -> Metrics:
    return trainer.train(
        model,
        data,
        samples.taught(data, cache, trust.learn(data, cache), params.distill.min_trust),
        target,
        image_size=params.image_size,
        epochs=epochs,
        training=params.training,
        seed=seed,
        loss=partial(BoxesLoss, temperature=params.distill.temperature, weight=params.distill.weight),
    )


def _student(
    project: Path, params: Params, data: Dataset, student: str, seed: int
) -> tuple[DetectionModel, str | None]:
    """A student at its start, the same for `distill` and `control`, and where its weights came from."""
    model = network.build(params.networks[student], data.classes, seed)
    given, source = given_weights(project / INPUTS / "students", student)
    if given is not None:
        network.start_from(model, given)
    return model, source
