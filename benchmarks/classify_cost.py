"""A classifier of images trained for a few steps in three ways, to be timed: see `benchmarks.classify`."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from alambique.tasks.classification.loss import tempered_kl
from alambique.tasks.classify import lessons, network, soft_labels
from alambique.tasks.classify.adopt import adopt
from alambique.tasks.classify.cache import ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.preprocess import DESCRIPTION
from torch import Tensor, nn

from alambique.config.classify import Augment, Distill, Network, Training
from alambique.demo.digits import Digits
from alambique.softlabels import writer
from alambique.softlabels.reader import Cache
from alambique.tasks import training_loop
from alambique.tasks.training_loop import Batch, Lesson
from benchmarks.round_robin import Block, forward, per_sample, step_times

SIZE = 224
SMALL = Network(scale="n")
LARGE = Network(scale=(0.5, 0.57, 1024))
"""Of five times the multiply-accumulates of `SMALL`."""


def make_blocks(folder: Path, batch: int, steps: int) -> dict[str, Block]:
    """What takes turns, by name."""
    Digits(train=batch * steps, val=10, test=10, size=SIZE).write(folder / "source")
    adopt(str(folder / "source"), folder / "data")
    data, augment, how = Dataset.load(folder / "data"), Augment(), Distill()
    teacher = network.build(LARGE, data.classes, 0).model.eval()
    made = ViewRecipe(
        teachers=["0" * 64],
        combine="average",
        data={"train": data.digest("train")},
        preprocessing=DESCRIPTION,
        classes=data.classes,
        image_size=SIZE,
        top_k=10,
        views=1,
        augment=augment,
    )
    views = soft_labels.pool(data, made)
    order = sorted(range(len(views)), key=views.names.__getitem__)
    (folder / "cache" / "0").mkdir(parents=True)
    writer.write(folder / "cache" / "0", soft_labels.look([teacher], views, order, made), made, 0, 1)
    cached = lessons.by_soft_labels(data, Cache.open(folder / "cache", made), made, how)
    learned = {
        "plain": lessons.by_label(data, SIZE, augment, len(views)),
        "cached": cached,
        "online": cached._replace(loss=partial(_online, teacher, how), identity="online"),
    }
    blocks: dict[str, Block] = {name: partial(_train, lesson, data, batch) for name, lesson in learned.items()}
    return {**blocks, "teacher": partial(forward, teacher, torch.rand(batch, 3, SIZE, SIZE))}


@torch.no_grad()
def _heard(teacher: nn.Module, images: Tensor) -> Tensor:
    chances: Tensor = teacher(images).log_softmax(1)
    return chances


def _online(teacher: nn.Module, how: Distill, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of `by_soft_labels`, of what the teacher sees now."""
    images = batch["image"].float() / 255
    chances = _heard(teacher, images)
    everything = torch.arange(chances.shape[1]).expand(len(chances), -1)
    logits = model(images)
    divergence = tempered_kl(logits, chances, everything, torch.full((len(chances),), -60.0), how.temperature)
    own = lessons.cross_entropy(logits, batch)
    return {"divergence": how.weight * divergence, "cross_entropy": (1 - how.weight) * own}


def _train(lesson: Lesson, data: Dataset, batch: int) -> float:
    """Seconds per image of an epoch."""
    model = network.build(SMALL, data.classes, 0).model
    with tempfile.TemporaryDirectory() as target, step_times() as times:
        training_loop.train(
            model,
            lesson,
            Path(target),
            epochs=1,
            training=Training(batch=batch),
            seed=0,
            measure=lambda _: {"top1": 0.0},
        )
    return per_sample(times, batch)


def macs_ratio() -> float:
    """Of the teacher over the student."""
    small, large = (network.build(each, ["a", "b"], 0).model for each in (SMALL, LARGE))
    return network.macs(large, SIZE) / network.macs(small, SIZE)
