"""What a teacher of images costs while a student is trained, and what it is worth.

    python -m benchmarks.classify --data PATH --weights yolo26n.pt [--jobs N] [--quick]

Cost, on a CPU: a YOLO26n classifier at 224 px, batch 16, on the demo's digits drawn at that size. In one process these
take turns, in rounds that each begin with another of them, each a real training of a few steps, counted
from the first step of the optimizer to the last:

plain       from labels alone, as `control` does
cached      from the cache of views, as `distill` does
online      the same views and loss, but the teacher, of five times the student's multiply-accumulates, looks at every
            batch itself
teacher     that teacher's forward pass alone

cached_over_plain, online_over_cached     ratios within a round; their median and quartiles
share_of_ceiling                          online_over_cached over what a teacher without any cost could save

Worth: a student of 0.25 M parameters at 64 px, from scratch, with three seeds, on a folder of classified photographs.
The teacher is a YOLO26n classifier that starts from a COCO detector's backbone. See `benchmarks.distillation_gain`.

gain_over_control             points of test top-1, distilled − control; every fifth image keeps its label, the others
                              become unlabelled, and the teacher is trained on the labels that are left
gain_over_control_all_labels  the same where all images are labelled

`runs` holds what every subject came to on test, `means` what students and controls did over their seeds. What is done
is kept in benchmarks/.runs; cost is measured anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer

from alambique.demo.digits import Digits
from alambique.errors import DataError
from alambique.files import sha256
from benchmarks import common, distillation_gain, stage_runs
from benchmarks.classify_cost import macs_ratio, make_blocks
from benchmarks.common import Row
from benchmarks.round_robin import Round, interleave, ratio, share_of_ceiling

STUDENT, TEACHER = "pico", "main"
KEEP = 5
"""One in so many images keeps its label where labels are scarce."""
SETTINGS = {"scarce": KEEP, "full": 1}


class Scale(NamedTuple):
    """How large the part about worth is.

    Attributes:
        image_size: side of the input, pixels.
        steps: of students and controls.
        teacher_steps: however many labels are known.
        share, recovery: of multiply-accumulates that pruning removes, and the steps after it.
        seeds: of students and controls.
        network: of the student.
        teacher: of the teacher.
    """

    image_size: int = 64
    steps: int = 2220
    teacher_steps: int = 555
    share: float = 0.4
    recovery: int = 296
    seeds: tuple[int, ...] = (0, 1, 2)
    network: tuple[float, float, int] = (0.5, 0.125, 512)
    teacher: str | tuple[float, float, int] = "n"


QUICK = Scale(32, 3, 3, 0.33, 3, (0,), (0.34, 0.125, 256), (0.34, 0.125, 256))


def main(
    data: Annotated[Path | None, typer.Option(help="A folder of train, val, test, each with a folder a class.")] = None,
    weights: Annotated[Path | None, typer.Option(help="What the teacher begins with: a COCO yolo26n.pt.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each with one thread.")] = 1,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's digits.")] = False,
) -> None:
    """Measure what a teacher of images costs, and what it is worth."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the goals are a CPU's
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the jobs
    torch.set_num_threads(1)
    batch, steps, rounds = (2, 3, 2) if quick else (16, 6, 9)
    with tempfile.TemporaryDirectory() as scratch:
        source, scale = given(data, weights, Path(scratch), quick)
        digest = [sha256(path) for path in sorted(source.rglob("*")) if path.is_file()]
        pinned = weights and sha256(weights)
        folder = Path(scratch) if quick else common.state("classify", data=digest, weights=pinned, scale=scale)
        blocks = make_blocks(Path(scratch) / "speed", batch, steps)
        measured = interleave(blocks, rounds, folder / "speed")
        projects = [folder / name for name in SETTINGS]
        for project in projects:
            keep = SETTINGS[project.name]
            changed = changes(None if quick else weights, scale)
            stage_runs.lay_out(project, "classify", partial(split, source, keep=keep), changed)
        distillation_gain.do(projects, jobs)
        common.publish(
            "classify",
            [
                *rows(measured),
                distillation_gain.gain(folder / "scarce", "gain_over_control", "low > 0"),
                distillation_gain.gain(folder / "full", "gain_over_control_all_labels"),
            ],
            quick=quick,
            threads=1,
            jobs=jobs,
            scale=scale._asdict(),
            macs_ratio=macs_ratio(),
            seconds_per_image={name: [each[name] for each in measured] for name in blocks},
            means=[figures for project in projects for figures in distillation_gain.means(project)],
            runs=[figures for project in projects for figures in distillation_gain.runs(project)],
        )
        shutil.rmtree(folder / "speed")  # the next run measures anew


def given(data: Path | None, weights: Path | None, scratch: Path, quick: bool) -> tuple[Path, Scale]:
    """The images of a run.

    Raises:
        DataError: a full run lacks its images, or the weights.
    """
    if quick:
        Digits(train=50, val=10, test=20, size=32).write(scratch / "digits")
        return scratch / "digits", QUICK
    if data is None or weights is None or not weights.is_file():
        raise DataError(
            f"the full benchmark trains on real images (--data is {data}) from COCO's weights (--weights is "
            f"{weights}); give --data PATH, a folder with train, val and test, and --weights PATH, a yolo26n.pt"
        )
    return data, Scale()


def rows(measured: Sequence[Round]) -> list[Row]:
    """The published ratios."""
    return [
        ratio("cached_over_plain", measured, "cached", "plain", "≤ 1.10"),
        ratio("online_over_cached", measured, "online", "cached", "≥ 2.5"),
        share_of_ceiling(measured, "online", "teacher"),
    ]


def split(source: Path, target: Path, keep: int) -> None:
    """Links to the images, of which one in `keep` of a class's train images, by their names, keeps its label."""
    for name in ("train", "val", "test"):
        for folder in sorted(path for path in (source / name).iterdir() if path.is_dir()):
            for number, image in enumerate(sorted(folder.iterdir())):
                labelled = name != "train" or number % keep == 0
                link = target / name / folder.name / image.name if labelled else target / "unlabelled" / image.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(image.resolve())


def changes(weights: Path | None, scale: Scale) -> dict[str, Any]:
    """What params.yaml of both settings has other than the defaults."""
    return {
        "input_size": scale.image_size,
        "seeds": list(scale.seeds),
        "students": [STUDENT],
        "networks": {STUDENT: {"family": "yolo26-cls", "scale": list(scale.network), "weights": None}},
        "teacher": {
            TEACHER: {
                "weights": weights and str(weights.resolve()),
                "network": {"scale": scale.teacher if isinstance(scale.teacher, str) else list(scale.teacher)},
                "steps": scale.teacher_steps,
            }
        },
        "soft_labels": {"shards": [0]},
        "distill": {"steps": scale.steps, "weight": 0.9},
        "prune": {"steps": scale.recovery, "ratio": scale.share},
        "validation": {"min_images_per_class": 0},
    }


if __name__ == "__main__":
    common.run(main)
