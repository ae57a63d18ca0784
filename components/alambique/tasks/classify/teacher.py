"""A teacher: fine-tuned from given weights, trained from scratch, or taken as it is; and measured on val."""

from __future__ import annotations

from pathlib import Path

from alambique import files
from alambique.config.classify import Params, Teacher
from alambique.data import inputs
from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, CURVES, DATA, INPUTS, WEIGHTS
from alambique.tasks import training_loop
from alambique.tasks.classify import lessons, measuring, network, weights
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.network import Checkpoint


def teacher(project: Path, params: Params, name: str, target: Path) -> Metrics:
    """Train or take a teacher, and measure it on val; see `alambique.tasks.Task.teacher`.

    Raises:
        IntegrityError: the given weights are not the bytes that were asked for.
        DataError: they are of another architecture, or (fetch) tell other classes apart.
        ConfigurationError: there is no such architecture, or the training diverged.
    """
    data, asked = Dataset.load(project / DATA), params.teacher[name]
    given, source = inputs.given(project / INPUTS / "teachers", name, asked.sha256)
    measure = measuring.on_val(data, params.input_size)
    if asked.source == "fetch":
        if given is None:
            raise DataError("teacher.source is fetch, but inputs/teachers holds no weights; make a new snapshot")
        made = weights.take(asked.network, data.classes, given)
        files.write_text(target / CURVES, "")
        metrics: Metrics = {f"val_{name}": value for name, value in measure(made.model).items()}
    else:
        made = _begin(asked, data, given, params.seed)
        images = len(data.images("train"))
        metrics = training_loop.train(
            made.model,
            lessons.by_label(data, params.input_size, params.training.augment, images),
            target,
            epochs=asked.epochs,
            training=params.training,
            seed=params.seed,
            measure=measure,
        )
    network.save(made, target / WEIGHTS)
    card = network.write_card(target, "teacher", params.input_size, data.digest("train"), source=source)
    files.write_json(target / CARD, {**card, "val_top1": metrics["val_top1"]})
    return {**metrics, **network.figures(card)}


def _begin(asked: Teacher, data: Dataset, given: Path | None, seed: int) -> Checkpoint:
    made = network.build(asked.network, data.classes, seed)
    if given is not None:
        weights.start_from(made, given)
    return made
