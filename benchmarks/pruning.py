"""What soft labels are worth after pruning: recovery with them, against recovery from labels alone.

    python -m benchmarks.pruning --data PATH --weights yolo26n.pt [--quick]

A YOLO26n that was fine-tuned and distilled on the data (see benchmarks/student_yolo26n.py) loses half of its MACs and
recovers, by the product's `prune` stage with the defaults of params.yaml: with the cache, and without a teacher,
from the same pruned network over as many steps. What is done is kept in benchmarks/.runs.

recovery_gain      points of test mAP50-95, with − without soft labels; paired over seeds and test images
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from alambique import layout
from alambique.files import read_json
from benchmarks import common, student_yolo26n
from benchmarks.common import Row
from benchmarks.stage_runs import Stage, do, gain

SHARE = 0.5
"""Of the multiply-accumulates, removed."""
STEPS = 130
"""Of recovery."""

PRUNED = f"{student_yolo26n.STUDENT}-pruned"
STAGES = (*student_yolo26n.PRUNING, Stage("evaluate", (PRUNED,)))
METHODS = ("soft", "none")


def main(
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout, such as BCCD.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A COCO checkpoint of YOLO26n.")] = None,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's scenes.")] = False,
) -> None:
    """Measure what soft labels are worth in recovery."""
    seeds = (0,) if quick else (0, 1, 2)
    with student_yolo26n.project(data, weights, quick) as project:
        arms: dict[str, list[Path]] = {method: [] for method in METHODS}
        for seed in seeds:
            for method in METHODS:
                arm = student_yolo26n.variant(
                    project,
                    f"recovery-{method}-{seed}",
                    seed=seed,
                    distill={"method": method},
                    prune={"ratio": SHARE, "steps": 2 if quick else STEPS},
                )
                do(arm, STAGES)
                common.tell(f"recovered: {arm.name}")
                arms[method].append(arm)
        runs = [figures(arm) for method in METHODS for arm in arms[method]]
        common.publish("pruning", [row(arms["soft"], arms["none"])], quick=quick, threads=1, runs=runs)


def row(taught: Sequence[Path], untaught: Sequence[Path]) -> Row:
    """The published gain, in points.

    Args:
        taught, untaught: the projects of both ways to recover, seed by seed.
    """
    sides = ([arm / layout.evaluation(PRUNED) for arm in arms] for arms in (taught, untaught))
    return gain("recovery_gain", "≥ 1.5", *sides)


def figures(arm: Path) -> dict[str, Any]:
    """What one recovery came to on test."""
    metrics = read_json(arm / layout.evaluation_metrics(PRUNED))
    return {"arm": arm.name, **{key: metrics[key] for key in ("map50_95", "map50", "parameters", "macs")}}


if __name__ == "__main__":
    common.run(main)
