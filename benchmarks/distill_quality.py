"""Is distillation worth it? A small student from scratch, with and without a teacher, by what it finds on test.

    python -m benchmarks.distill_quality --data PATH --weights yolo26n.pt [--jobs N] [--steps N] [--quick]

The student is the 0.68 M-parameter `pico` of params.yaml at 224 px, trained with three seeds. Each setting is a
project as `alambique init` makes it, with the defaults of params.yaml but for what is named here, and its stages are
the product's own:

full      all labels; the teacher is a YOLO26n fine-tuned on them
builtin   the same teacher and labels, but `distill.method: feature`: Ultralytics' own distillation
fetched   every fifth image keeps its labels, the others become unlabelled; the teacher is that of `full`
scarce    the same images; the teacher is fine-tuned on the labels that are left

Teachers look at 320 px: the cache gives that to students of 224 px for nothing. A control has the same start and as
many steps as the student that it is compared with, and the labels alone.

gain_fetched       points of test mAP50-95, fetched, distilled − control
gain_scarce        the same student against the same control, but by the teacher that saw no more labels than they
gain_full          full, distilled − control
gain_over_builtin  full, distilled − builtin, distilled
entropy_at_labels  nats of the teacher's class distribution at a labelled box, full: what the cache can say there that
                   the label does not; the logarithm of the number of classes would be all

Intervals are those of the product's report: paired over seeds and test images. Each stage that is done is kept in
benchmarks/.runs and, after an interruption, not done again; a training goes on from its last interval. Each of the N
jobs is a process with one thread: two of them finish sooner than one with two, and no figure depends on how many
there are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np
import torch
import typer

from alambique import config, layout, tasks
from alambique.config.detect import Params
from alambique.data.dataset import Dataset
from alambique.files import read_json, sha256
from alambique.softlabels.reader import Cache
from alambique.stages.work import teacher_folders
from alambique.tasks.cards import read_card
from alambique.tasks.yolo import objective, samples
from alambique.tasks.yolo.dataset import YoloDataset
from benchmarks import common, datasets
from benchmarks.common import Row
from benchmarks.stage_runs import Stage, advance, begin, do, gain, given, lay_out

STUDENT, TEACHER = "pico", "main"
KEEP = 5
"""One in so many images keeps its labels where labels are scarce."""


class Setting(NamedTuple):
    """What the students of a project learn from."""

    labels: Literal["all", "few"]
    teacher: Literal["tuned", "fetched"]
    method: Literal["soft", "feature"] = "soft"


class Run(NamedTuple):
    """One student, once for every seed."""

    setting: str
    kind: Literal["control", "distilled"]


TEACHER_STAGES = (
    Stage("validate"),
    Stage("teacher", (TEACHER,)),
    Stage("evaluate", (f"teacher-{TEACHER}",)),
    Stage("soft_labels", ("0",)),
)
SETTINGS = {
    "full": Setting("all", "tuned"),
    "scarce": Setting("few", "tuned"),
    "fetched": Setting("few", "fetched"),
    "builtin": Setting("all", "fetched", method="feature"),
}
TUNED = [name for name, setting in SETTINGS.items() if setting.teacher == "tuned"]
FETCHED = [name for name in SETTINGS if name not in TUNED]
"""Their teacher is that of `full`, which has to be there first."""

RUNS = (
    Run("fetched", "control"),
    Run("fetched", "distilled"),
    Run("scarce", "distilled"),
    Run("full", "control"),
    Run("full", "distilled"),
    Run("builtin", "distilled"),
)
GAINS = {
    "gain_fetched": (Run("fetched", "distilled"), Run("fetched", "control"), "≥ 6, low > 0"),
    "gain_scarce": (Run("scarce", "distilled"), Run("fetched", "control"), "> 0"),
    "gain_full": (Run("full", "distilled"), Run("full", "control"), "> 0"),
    "gain_over_builtin": (Run("full", "distilled"), Run("builtin", "distilled"), "≥ 0"),
}


@dataclass(frozen=True)
class Scale:
    """How large the benchmark is.

    Attributes:
        image_size, teacher_size: side of the students' and the teachers' input, pixels.
        steps: of students and controls.
        teacher_steps: however many labels are known.
        seeds: of students and controls.
        soft_labels: more of this section of params.yaml.
    """

    image_size: int = 224
    teacher_size: int = 320
    steps: int = 1300
    teacher_steps: int = 390
    seeds: tuple[int, ...] = (0, 1, 2)
    soft_labels: tuple[tuple[str, Any], ...] = ()


# A teacher of two steps is sure of nothing: every box counts, or there would be none.
QUICK = Scale(64, 64, 2, 2, (0,), (("min_score", 0.0),))


def main(
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout, such as BCCD.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="What teachers begin with: a COCO checkpoint of YOLO26n.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Of students and controls alike.")] = Scale.steps,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each with one thread.")] = 1,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's scenes.")] = False,
) -> None:
    """Measure what distillation is worth."""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the jobs
    with tempfile.TemporaryDirectory() as scratch:
        if quick:
            scale, folder = QUICK, Path(scratch)
            source = datasets.scenes(folder / "scenes", train=20, size=64)
        else:
            scale = Scale(steps=steps)
            source, weights = given(data, weights, KEEP)
            digests = [source.digest(split) for split in ("train", "val", "test")]
            folder = common.state("distill_quality", data=digests, weights=sha256(weights), scale=scale)
        work(folder, source, weights, scale, jobs)
        subjects = [(setting, f"teacher-{TEACHER}") for setting in SETTINGS]
        subjects += [(run.setting, _subject(run, seed)) for run in RUNS for seed in scale.seeds]
        figures = [_figures(folder, *subject) for subject in subjects]
        rows = [*(_gain(folder, id, scale.seeds) for id in GAINS), entropy_at_labels(folder / "full")]
        common.publish("distill_quality", rows, quick=quick, threads=1, jobs=jobs, steps=scale.steps, runs=figures)


def work(folder: Path, source: Dataset, weights: Path | None, scale: Scale, jobs: int) -> None:
    """Do every stage that is not done yet.

    Args:
        folder: of the projects.
        source: the dataset with all its labels.
        weights: what teachers begin with; None: from scratch.
        scale, jobs: see `Scale` and `main`.
    """
    tuned = folder / "full" / layout.teacher(TEACHER) / layout.WEIGHTS
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin) as pool:
        for group, first in ((TUNED, weights), (FETCHED, tuned)):
            settings = {name: SETTINGS[name] for name in group}
            advance(
                pool,
                {
                    f"{name}: teacher": partial(make_teacher, folder / name, source, setting, first, scale)
                    for name, setting in settings.items()
                },
            )
        advance(
            pool,
            {
                f"{run.setting}: {_subject(run, seed)}": partial(do, folder / run.setting, student_stages(run, seed))
                for seed in scale.seeds
                for run in RUNS
            },
        )


def make_teacher(project: Path, source: Dataset, setting: Setting, weights: Path | None, scale: Scale) -> None:
    """The setting's project up to its soft labels."""
    splits = split(source, KEEP if setting.labels == "few" else 1)
    lay_out(project, "detect", partial(datasets.link, source, splits=splits), changes(setting, weights, scale))
    do(project, TEACHER_STAGES)


def split(source: Dataset, keep: int) -> dict[str, list[Path]]:
    """The images by split, when one in `keep` of the train images, by their sorted paths, keeps its labels."""
    train = source.images("train")
    labelled = train[::keep]
    splits = {"train": labelled, "val": source.images("val"), "test": source.images("test")}
    unlabelled = [image for image in train if image not in set(labelled)]
    return {**splits, "unlabelled": unlabelled} if unlabelled else splits


def changes(setting: Setting, weights: Path | None, scale: Scale) -> dict[str, Any]:
    """What the setting's params.yaml has other than the defaults."""
    source = "train" if setting.teacher == "tuned" else "fetch"
    return {
        "input_size": scale.image_size,
        "seeds": list(scale.seeds),
        "networks": {STUDENT: {"family": "yolo26", "scale": [0.5, 0.125, 1024], "weights": None}},
        "teacher": {
            TEACHER: {
                "source": source,
                "weights": weights and str(weights.resolve()),
                "input_size": scale.teacher_size,
                "steps": scale.teacher_steps,
            }
        },
        "soft_labels": {"shards": [0], **dict(scale.soft_labels)},
        "distill": {"steps": scale.steps, "method": setting.method},
        "validation": {"min_boxes_per_class": 0},  # a fifth of the labels may miss a class
    }


def student_stages(run: Run, seed: int) -> list[Stage]:
    """Train the run's student and measure it."""
    stage = "distill" if run.kind == "distilled" else "control"
    return [Stage(stage, (STUDENT, str(seed))), Stage("evaluate", (_subject(run, seed),))]


def entropy_at_labels(project: Path) -> Row:
    """What the teacher leaves open, at temperature 1, where people drew a box that it finds, too."""
    params, data = cast("Params", config.load(project)), YoloDataset.load(project / layout.DATA)
    cards = [read_card(folder) for folder in teacher_folders(project, params)]
    recipe = tasks.load(params.task).soft_label_recipe(cards, data, params)
    cache = Cache.open(project / layout.SOFT_LABELS, recipe)
    targets = samples.with_teacher_targets(
        data, cache, objective.fit_calibration(data, cache), params.distill.min_label_probability
    )
    logits = torch.from_numpy(np.concatenate([sample.targets[:, 2:] for sample in targets]))
    found = logits[~logits.isnan().any(1)]
    shares = found.softmax(1)
    return common.median("entropy_at_labels", torch.special.entr(shares).sum(1).tolist())


def _gain(folder: Path, id: str, seeds: Sequence[int]) -> Row:
    """A row of `GAINS`, in points."""
    first, second, goal = GAINS[id]
    sides = (
        [folder / run.setting / layout.evaluation(_subject(run, seed)) for seed in seeds] for run in (first, second)
    )
    return gain(id, goal, *sides)


def _figures(folder: Path, setting: str, subject: str) -> dict[str, Any]:
    """What one training came to on test."""
    metrics = read_json(folder / setting / layout.evaluation_metrics(subject))
    return {"setting": setting, "subject": subject, "map50_95": metrics["map50_95"], "map50": metrics["map50"]}


def _subject(run: Run, seed: int) -> str:
    return f"{STUDENT}-{run.kind}-{seed}"


if __name__ == "__main__":
    common.run(main)
