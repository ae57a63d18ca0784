"""What a teacher costs while a student is trained, on a CPU: the cached method against none, and against upstream's.

    python -m benchmarks.distill_speed [--quick] [--data PATH]

A YOLO26n student at 320 px, batch 16, on the demo's scenes drawn at that size (or the given dataset). In one process
these take turns, in rounds that each begin with another of them:

plain       the `control` stage: no teacher
cached      the `distill` stage, from the cache
builtin_S   Ultralytics' own `distill_model` with a YOLO26 of scale S, which runs at every batch; random weights do
teacher_S   that teacher's forward pass alone

A block is one of them once, as users run it: a real training by Ultralytics' loop, of a few steps. A
hook notes the time after every step of the optimizer. From the first step to the last there are whole iterations
only, of loading and augmenting, forward pass, loss, backward pass, step and moving average; what a training does
before and after is not counted. A row is a ratio within a round, its median and quartiles over the rounds.

cached_over_plain
builtin_l_over_cached, builtin_x_over_cached
share_of_ceiling        builtin_l_over_cached / ((plain + teacher_l) / plain): a method that needs no teacher's forward
                        pass, and costs nothing itself, has 1, but for what upstream's own loss costs
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
import typer
from ultralytics.utils import LOGGER, NUM_THREADS

from alambique import layout, tasks
from alambique.config.detect import Network, Params
from alambique.files import write_json
from alambique.layout import DATA, INPUTS, WEIGHTS
from alambique.softlabels import writer
from alambique.stages.distill import distillation_objective
from alambique.stages.work import write_checkpoint_card
from alambique.tasks import Task
from alambique.tasks.cards import read_card
from alambique.tasks.trainer_state import NO_PRIOR
from alambique.tasks.yolo import network
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.soft_label_rows import BoxLabels
from benchmarks import common, datasets
from benchmarks.common import Row
from benchmarks.round_robin import Block, Round, forward, interleave, per_sample, ratio, share_of_ceiling, step_times

SIZE = 320
STUDENT = "nano"
TEACHERS: tuple[Literal["l", "x"], ...] = ("l", "x")


def main(
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes.")] = False,
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout; default: the demo's scenes.")] = None,
) -> None:
    """Measure what a teacher costs while a student is trained."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the goals are a CPU's
    LOGGER.setLevel(logging.WARNING)
    torch.set_num_threads(NUM_THREADS)  # as upstream does when a training begins, whatever the environment says
    batch, steps, rounds = (2, 2, 2) if quick else (16, 5, 9)
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch) if quick else common.state("distill_speed", data=data, threads=NUM_THREADS)
        params = lay_out(Path(scratch) / "project", data, batch, steps)
        blocks = make_blocks(Path(scratch) / "project", params)
        measured = interleave(blocks, rounds, done)
        common.publish(
            "distill_speed",
            rows(measured),
            quick=quick,
            threads=NUM_THREADS,
            seconds_per_image={name: [each[name] for each in measured] for name in blocks},
        )
        shutil.rmtree(done)  # the next run measures anew


def rows(measured: Sequence[Round]) -> list[Row]:
    """The published ratios, each taken within a round."""

    return [
        ratio("cached_over_plain", measured, "cached", "plain", "≤ 1.10"),
        ratio("builtin_l_over_cached", measured, "builtin_l", "cached", "≥ 3.5"),
        ratio("builtin_x_over_cached", measured, "builtin_x", "cached", "≥ 6"),
        share_of_ceiling(measured, "builtin_l", "teacher_l", "≥ 0.9"),
    ]


def lay_out(project: Path, data: Path | None, batch: int, steps: int) -> Params:
    """A project with a teacher's soft labels, whose trainings have `steps` steps."""
    project.mkdir()
    if data is None:
        datasets.scenes(project / DATA, batch * steps, SIZE)
    else:
        source = datasets.given(data, {"train": batch * steps, "val": 1})
        parts = {"train": source.images("train")[: batch * steps], "val": source.images("val")[:8]}
        datasets.link(source, project / DATA, parts)
    params = common.params(
        input_size=SIZE,
        students=[STUDENT],
        networks={STUDENT: Network(scale="n").model_dump()},
        training={"batch": batch, "val_interval": steps, "patience": None},
        soft_labels={"shards": [0]},
        distill={"steps": steps},
    )
    write_json(project / INPUTS / "students" / "index.json", {STUDENT: {"uri": None, "sha256": None, "file": None}})
    _know_everything(project, params)
    return params


def make_blocks(project: Path, params: Params) -> dict[str, Block]:
    """What takes turns, by name."""
    task = tasks.load(params.task)
    blocks: dict[str, Block] = {
        "plain": _block(task, project, params.model_copy(update=_method(params, "none"))),
        "cached": _block(task, project, params),
    }
    data = YoloDataset.load(project / DATA)
    for scale in TEACHERS:
        folder = project / layout.teacher(scale)
        folder.mkdir(parents=True)
        network.save(network.build(Network(scale=scale), data.classes, params.seed), folder / WEIGHTS, SIZE)
        write_checkpoint_card(task, folder, params, kind="teacher", data=data.digest("train"))
        feature = {"teachers": (scale,), **_method(params, "feature")}
        blocks[f"builtin_{scale}"] = _block(task, project, params.model_copy(update=feature))
        images = torch.rand(params.training.batch, 3, SIZE, SIZE)
        blocks[f"teacher_{scale}"] = partial(forward, network.load(folder / WEIGHTS).eval(), images)
    return blocks


def _method(params: Params, method: str) -> dict[str, object]:
    return {"distill": params.distill.model_copy(update={"method": method})}


def _block(task: Task, project: Path, params: Params) -> Block:
    return partial(_stage, partial(_train, task, project, params), params.training.batch)


def _train(task: Task, project: Path, params: Params, target: Path) -> None:
    """Train the student by `distill.method`; a teacher whose features are matched needs no cache."""
    dataset, seed = task.dataset(project / DATA), params.seed
    model = task.build(params.networks[STUDENT], dataset, params, seed=seed, weights=None)
    if params.distill.method == "feature":
        teachers = [project / layout.teacher(name) for name in params.teachers]
        objective = task.distillation_objective(model, dataset, params, cast("Any", {}), teachers)
    else:
        objective = distillation_objective(task, model, dataset, params, project)
    task.train(model, objective, dataset, params, target, steps=params.distill.steps, seed=seed, prior=NO_PRIOR)


def _stage(work: Callable[[Path], object], batch: int) -> float:
    with tempfile.TemporaryDirectory() as target, step_times() as times:
        work(Path(target))
    return per_sample(times, batch)


def _know_everything(project: Path, params: Params) -> None:
    """The cache of a teacher that sees what is labelled, and nothing else: every box has logits to learn from."""
    data = YoloDataset.load(project / DATA)
    folder = project / layout.teacher(params.teachers[0])
    folder.mkdir(parents=True)
    network.save(network.build(params.networks[STUDENT], data.classes, params.seed), folder / WEIGHTS, SIZE)
    task = tasks.load(params.task)
    write_checkpoint_card(task, folder, params, kind="teacher", data=data.digest("train"))
    recipe = task.soft_label_recipe([read_card(folder)], data, params)
    width = min(recipe.top_k, len(data.classes))
    target = project / layout.shard(0)
    target.mkdir(parents=True)
    images = sorted(image for split in recipe.data for image in data.images(split))
    writer.write(target, (_seen(data, image, width) for image in images), recipe, 0, 1)


def _seen(data: YoloDataset, image: Path, width: int) -> BoxLabels:
    rows = data.boxes(image)
    centre, extent = rows[:, 1:3], rows[:, 3:5]
    others = (rows[:, :1].astype(int) + np.arange(width)) % len(data.classes)  # its own class first
    return BoxLabels(
        image=data.inside(image),
        boxes=np.hstack((centre - extent / 2, centre + extent / 2)).astype(np.float16),
        logits=np.tile(np.where(np.arange(width), -3, 3), (len(rows), 1)).astype(np.float16),
        classes=others.astype(np.int16),
        scores=np.full(len(rows), 0.95, np.float16),
    )


if __name__ == "__main__":
    common.run(main)
