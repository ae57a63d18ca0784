"""A classifier of images trained for a few steps in three ways, to be timed: see `benchmarks.classify`."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from alambique.config.classify import Augment, Distill, Network, Training
from alambique.demo.digits import Digits
from alambique.softlabels import topk, writer
from alambique.softlabels.reader import Cache
from alambique.tasks import training_loop
from alambique.tasks.classifiers.soft_labels import COMBINE
from alambique.tasks.images import network, objectives, soft_labels
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.import_dataset import import_dataset
from alambique.tasks.images.preprocess import DESCRIPTION
from alambique.tasks.images.soft_labels import ViewRecipe
from alambique.tasks.training_loop import Batch, TrainingObjective
from benchmarks.round_robin import Block, forward, per_sample, step_times

SIZE = 224
SMALL = Network(scale="n")
LARGE = Network(scale=(0.5, 0.57, 1024))
"""Of five times the multiply-accumulates of `SMALL`."""


def make_blocks(folder: Path, batch: int, steps: int) -> dict[str, Block]:
    """What takes turns, by name."""
    Digits(train=batch * steps, val=10, test=10, size=SIZE).write(folder / "source")
    import_dataset(str(folder / "source"), folder / "data")
    data, augment, distill = Dataset.load(folder / "data"), Augment(), Distill()
    teacher = network.build(LARGE, data.classes, 0).model.eval()
    recipe = ViewRecipe(
        teachers=["0" * 64],
        combine=COMBINE,
        data={"train": data.digest("train")},
        preprocessing=DESCRIPTION,
        classes=data.classes,
        image_size=SIZE,
        top_k=10,
        views=1,
        augment=augment,
    )
    views = soft_labels.views_of_all(data, recipe)
    order = sorted(range(len(views)), key=views.names.__getitem__)
    rows = soft_labels.label_views([teacher], views, order, recipe)
    (folder / "cache" / "0").mkdir(parents=True)
    writer.write(folder / "cache" / "0", rows, recipe, 0, 1)
    cached = objectives.by_soft_labels(data, Cache.open(folder / "cache", recipe), recipe, distill)
    by_name = {
        "plain": objectives.by_labels(data, SIZE, augment),
        "cached": cached,
        "online": cached._replace(loss=partial(_online, teacher, distill), identity="online"),
    }
    blocks: dict[str, Block] = {
        name: partial(_train, objective, data, batch, steps) for name, objective in by_name.items()
    }
    return {**blocks, "teacher": partial(forward, teacher, torch.rand(batch, 3, SIZE, SIZE))}


@torch.no_grad()
def _teacher_logits(teacher: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = teacher(images)
    return logits


def _online(teacher: nn.Module, distill: Distill, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of `by_soft_labels`, with the teacher run on the batch."""
    images = objectives.scaled(batch)
    log_probabilities = _teacher_logits(teacher, images).log_softmax(1)
    logits = model(images)
    divergence = topk.kl_divergence(
        logits, *topk.keep(log_probabilities, log_probabilities.shape[1]), distill.temperature
    )
    cross_entropy = objectives.cross_entropy(logits, batch)
    return {"divergence": distill.weight * divergence, "cross_entropy": (1 - distill.weight) * cross_entropy}


def _train(objective: TrainingObjective, data: Dataset, batch: int, steps: int) -> float:
    """Seconds per image."""
    model = network.build(SMALL, data.classes, 0).model
    with tempfile.TemporaryDirectory() as target, step_times() as times:
        training_loop.train(
            model,
            objective,
            Path(target),
            steps=steps,
            training=Training(batch=batch, val_interval=steps, patience=None),
            seed=0,
            measure=lambda _: {"top1": 0.0},
        )
    return per_sample(times, batch)


def macs_ratio() -> float:
    """Of the teacher over the student."""
    small, large = (network.build(architecture, ["a", "b"], 0).model for architecture in (SMALL, LARGE))
    return network.macs(large, SIZE) / network.macs(small, SIZE)
