"""What is a teacher worth? Students with and without one, on four data sets, with few labels and with all.

    python -m benchmarks.distill_quality --data bccd=PATH --data cards=PATH --data deeppcb=PATH --weights yolo26n.pt
        [--jobs N] [--only SET]… [--share N]… [--seed N]… [--quick]

The data sets are BCCD's blood cells, photographs of playing cards, DeepPCB's defects, and the demo's scenes of digits,
which need no files. Every tenth, every fifth, or every train image keeps its labels (10 %, 20 %, 100 %); the others are
unlabelled. The student is a YOLO26 of a quarter of a YOLO26n's parameters. Each arm is a project as `alambique init`
makes it, with the defaults of params.yaml but for what `benchmarks.panel` names, and its stages are the product's own:

control    labels alone, from what the teacher was trained from: COCO's YOLO26n, narrowed (digits: from scratch)
distilled  labels and the teacher's soft labels, of unlabelled images too, from the teacher, narrowed
start      labels alone, from the teacher, narrowed (10 %)
builtin    Ultralytics' own distillation, `distill.method: feature`, from the control's start (100 %)

The teacher of a set is a YOLO26n trained on *all* its labels, from COCO's weights (digits: from scratch). At 10 % and
20 % it is fetched, as people have theirs: *it was trained on more labels than the student's project has*, and what is
measured there is what such a teacher is worth, not what can be made of a tenth of the labels alone. Teacher and
students are trained by one rule: until val has been no better for `training.patience` steps, or to the set's ceiling.

panel_gain_10, _20, _100  distilled − control
panel_soft_over_start     distilled − start, at 10 %
panel_over_builtin        distilled − builtin, at 100 %
teacher_gap               teacher − distilled, at 100 %
panel_gap_closed          what distilled − control at 10 % is of control at 100 % − control at 10 %, over the sets where
                          that is at least three points
steps_to_control          steps after which the distilled student is on val as good as its control at its best, over the
                          steps that the control needed for it; 10 %, median and quartiles over sets and seeds

All but the last two are points of test mAP50-95, means over sets and seeds; `benchmarks.panel.rows` says how their
intervals are made. A row is of the trainings that are there; its n is the number of seeds times test images, over sets.

A stage that is done is kept in benchmarks/.runs and not done again, and a training that was interrupted goes on from
its last interval. --only, --share and --seed choose what is trained now; rows are of everything that is there. Each of
the N jobs is a process with one thread, and no figure depends on how many there are.

The whole panel is 4 teachers and 96 students, of at most 1,000 to 2,000 steps (`SETUPS` in `benchmarks.panel.sets`).
Measured on one core of a busy machine, a student's step of 16 images took 0.285 s at 96 px and 0.716 s at 224 px. If
four fifths of the steps are taken, that is about 16 hours of one core, eight of two: an estimate, no measurement.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from alambique import layout, tasks
from alambique.errors import ConfigurationError
from alambique.evaluation import paired_bootstrap
from benchmarks import common
from benchmarks.panel import arms, rows, sets
from benchmarks.panel.arms import SEEDS, TEACHER, Run
from benchmarks.panel.rows import Curve, Key, Results
from benchmarks.panel.sets import FULL, SETUPS, SHARES, PanelSet
from benchmarks.stage_runs import advance, begin

QUICK_SHARES, QUICK_SEEDS = (10, 100), (0,)


class Choice(NamedTuple):
    """What is trained now."""

    sets: list[PanelSet]
    shares: tuple[int, ...] = SHARES
    seeds: tuple[int, ...] = SEEDS


def main(
    data: Annotated[list[str] | None, typer.Option(help="NAME=PATH of a set in YOLO layout; several times.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="What teachers begin with: a COCO checkpoint of YOLO26n.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Train this set, and no other; several times.")] = None,
    share: Annotated[list[int] | None, typer.Option(help="With this share of the labels; several times.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="With this seed; several times.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each with one thread.")] = 1,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on a few scenes.")] = False,
) -> None:
    """Measure what a teacher is worth."""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the jobs
    with tempfile.TemporaryDirectory() as scratch:
        if quick:
            panel = sets.quick(Path(scratch))
            chosen = Choice(panel, QUICK_SHARES, QUICK_SEEDS)
        else:
            panel = sets.given(data or (), weights, Path(scratch))
            chosen = choose(panel, only or (), share or (), seed or ())
        work(chosen, jobs)
        publish(panel, quick, jobs)


def choose(panel: Sequence[PanelSet], only: Sequence[str], shares: Sequence[int], seeds: Sequence[int]) -> Choice:
    """What the options name; all, where they name nothing.

    Raises:
        ConfigurationError: there is no such set, share or seed.
    """
    for option, named, known in (
        ("--only", only, [panel_set.name for panel_set in panel]),
        ("--share", shares, list(SHARES)),
        ("--seed", seeds, list(SEEDS)),
    ):
        if unknown := [each for each in named if each not in known]:
            needed = f"; give --data {unknown[0]}=PATH" if unknown[0] in SETUPS else ""
            raise ConfigurationError(f"{option} {unknown[0]} is not among {', '.join(map(str, known))}{needed}")
    return Choice(
        [panel_set for panel_set in panel if not only or panel_set.name in only],
        tuple(share for share in SHARES if not shares or share in shares),
        tuple(seed for seed in SEEDS if not seeds or seed in seeds),
    )


def work(chosen: Choice, jobs: int) -> None:
    """Do every stage that is chosen and not done yet: at 100 % first, where the teachers are trained."""
    fewer = tuple(share for share in chosen.shares if share != FULL)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin) as pool:
        for shares in ((FULL,), fewer):
            advance(
                pool,
                {
                    f"{panel_set.name}: teacher and soft labels at {share} %": partial(arms.prepare, panel_set, share)
                    for share in shares
                    for panel_set in chosen.sets
                },
            )
        advance(
            pool,
            {
                f"{panel_set.name}: {run.arm} at {run.share} %, seed {run.seed}": partial(arms.train, panel_set, run)
                for run in arms.runs(chosen.shares, chosen.seeds)
                for panel_set in chosen.sets
            },
        )


def publish(panel: Sequence[PanelSet], quick: bool, jobs: int) -> None:
    """Publish the rows of what is there, and what each single training came to."""
    done = [(panel_set, [run for run in arms.runs() if run.done(panel_set.folder)]) for panel_set in panel]
    done = [(panel_set, runs) for panel_set, runs in done if runs]
    results = {panel_set.name: results_of(panel_set, runs) for panel_set, runs in done}
    pairs = {name: pair for panel_set, runs in done for name, pair in curves_of(panel_set, runs).items()}
    figures = [
        each
        for panel_set, runs in done
        for each in (arms.teacher_figures(panel_set), *(arms.figures(panel_set, run) for run in runs))
    ]
    common.publish(
        "distill_quality",
        [*rows.gains(results), *rows.gap_closed(results), *rows.steps_to_control(pairs)],
        quick=quick,
        threads=1,
        jobs=jobs,
        sets=[sets.described(panel_set) for panel_set, _ in done],
        runs=figures,
    )


def results_of(panel_set: PanelSet, runs: Sequence[Run]) -> Results:
    """The evaluations of a set's trainings and of its teacher, each of which is resampled once for all rows."""
    teacher = panel_set.folder / str(FULL) / layout.evaluation(f"teacher-{TEACHER}")
    evaluations: dict[Key, dict[int, Path]] = {(FULL, "teacher"): dict.fromkeys(SEEDS, teacher)}
    for run in runs:
        evaluations.setdefault((run.share, run.arm), {})[run.seed] = run.evaluation(panel_set.folder)
    folders = [teacher, *(run.evaluation(panel_set.folder) for run in runs)]
    resample = paired_bootstrap.once(tasks.load("detect").resample, folders)
    return Results(evaluations, resample, list(SETUPS).index(panel_set.name))


def curves_of(panel_set: PanelSet, runs: Sequence[Run]) -> dict[str, tuple[Curve, Curve]]:
    """The curves of the distilled student and of its control at the smallest share, by set and seed."""
    return {
        f"{panel_set.name} {run.seed}": (run.curve(panel_set.folder), control.curve(panel_set.folder))
        for run in runs
        if run[:2] == (SHARES[0], "distilled") and (control := run._replace(arm="control")) in runs
    }


if __name__ == "__main__":
    common.run(main)
