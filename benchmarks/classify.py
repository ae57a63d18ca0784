"""What a teacher of images costs while a student is trained, and what it is worth.

    python -m benchmarks.classify --data PATH --weights yolo26n.pt [--jobs N] [--quick]

Cost, on a CPU: a YOLO26n classifier at 224 px, batch 16, on the demo's digits drawn at that size. In one process these
take turns, in rounds that each begin with another of them, each a real training of an epoch of a few batches, counted
from the first step of the optimizer to the last:

plain       from labels alone, as `control` does
cached      from the cache of views, as `distill` does
online      the same views and loss, but the teacher, of five times the student's multiply-accumulates, looks at every
            batch itself

cached_over_plain, online_over_cached     ratios within a round; their median and quartiles

Worth: a student of 0.25 M parameters at 64 px, from scratch, with three seeds, on a folder of classified photographs.
The teacher is a YOLO26n classifier that begins with the backbone of a COCO detector. Each setting is a project as
`alambique init` makes it, with the defaults of params.yaml but for what is named here, and its stages are the product's
own. A control has the same start and as many steps as the student that it is compared with, and the labels alone.

gain_over_control             points of test top-1, distilled − control; every fifth image keeps its label, the others
                              become unlabelled, and the teacher is trained on the labels that are left
gain_over_control_all_labels  the same where all images are labelled

Intervals are those of the product's report: paired over seeds and test images. `runs` holds every subject's top-1 with
its interval over test images; the student of the first seed is also pruned and quantized. Each stage that is done is
kept in benchmarks/.runs and, after an interruption, not done again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
import yaml
from torch import Tensor, nn

from alambique import config, layout, tasks
from alambique.config.classify import Augment, Distill, Network, Training
from alambique.demo.digits import Digits
from alambique.errors import DataError
from alambique.files import read_json, sha256
from alambique.project import init
from alambique.softlabels import writer
from alambique.softlabels.reader import Cache
from alambique.tasks import learning, paired
from alambique.tasks.classification.loss import tempered_kl
from alambique.tasks.classify import lessons, network, soft_labels
from alambique.tasks.classify.adopt import adopt
from alambique.tasks.classify.cache import ViewRecipe
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.preprocess import DESCRIPTION
from alambique.tasks.learning import Batch, Lesson
from benchmarks import common, stages
from benchmarks.common import Row
from benchmarks.distill_quality import advance
from benchmarks.distill_speed import Block, Round, _per_image, _step_times, interleave
from benchmarks.stages import Stage

SIZE = 224
SMALL = Network(scale="n")
LARGE = Network(scale=(0.5, 0.57, 1024))
"""Of five times the multiply-accumulates of `SMALL`."""

STUDENT, TEACHER = "pico", "main"
KEEP = 5
"""One in so many images keeps its label where labels are scarce."""
SETTINGS = {"scarce": KEEP, "full": 1}


class Scale(NamedTuple):
    """How large the part about worth is.

    Attributes:
        image_size: side of the input, pixels.
        epochs: of students and controls.
        teacher_epochs: where all labels are known; where a fifth is, `KEEP` times as many, which are as many steps.
        share, recovery: of multiply-accumulates that pruning removes, and the epochs after it.
        seeds: of students and controls.
        network: of the student.
        teacher: of the teacher.
    """

    image_size: int = 64
    epochs: int = 60
    teacher_epochs: int = 15
    share: float = 0.4
    recovery: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)
    network: tuple[float, float, int] = (0.5, 0.125, 512)
    teacher: str | tuple[float, float, int] = "n"


QUICK = Scale(32, 1, 1, 0.33, 1, (0,), (0.34, 0.125, 256), (0.34, 0.125, 256))


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
        work(folder, source, None if quick else weights, scale, jobs)
        gains = [
            gain(folder / "scarce", "gain_over_control", "low > 0", scale.seeds),
            gain(folder / "full", "gain_over_control_all_labels", None, scale.seeds),
        ]
        common.publish(
            "classify",
            [*rows(measured), *gains],
            quick=quick,
            threads=1,
            jobs=jobs,
            scale=scale._asdict(),
            macs_ratio=_ratio(),
            seconds_per_image={name: [each[name] for each in measured] for name in blocks},
            runs=[figures for setting in SETTINGS for figures in runs(folder / setting, setting)],
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
    """The published ratios, each taken within a round."""
    cached = [each["cached"] / each["plain"] for each in measured]
    online = [each["online"] / each["cached"] for each in measured]
    return [
        common.median("cached_over_plain", cached, "≤ 1.10"),
        common.median("online_over_cached", online, "≥ 2.5"),
    ]


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
    return {name: partial(_train, lesson, data, batch) for name, lesson in learned.items()}


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
    with tempfile.TemporaryDirectory() as target, _step_times() as times:
        learning.train(
            model,
            lesson,
            Path(target),
            epochs=1,
            training=Training(batch=batch),
            seed=0,
            measure=lambda _: {"top1": 0.0},
        )
    return _per_image(times, batch)


def _ratio() -> float:
    small, large = (network.build(each, ["a", "b"], 0).model for each in (SMALL, LARGE))
    return network.macs(large, SIZE) / network.macs(small, SIZE)


def work(folder: Path, source: Path, weights: Path | None, scale: Scale, jobs: int) -> None:
    """Do every stage that is not done yet.

    Args:
        folder: of the projects.
        source: the images with all their labels.
        weights: what teachers begin with; None: from scratch.
        scale, jobs: see `Scale` and `main`.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=stages.begin) as pool:
        advance(
            pool,
            {
                f"{name}: teacher": partial(make_teacher, folder / name, source, keep, weights, scale)
                for name, keep in SETTINGS.items()
            },
        )
        advance(
            pool,
            {
                f"{name}: {kind} {seed}": partial(stages.do, folder / name, student_stages(kind, seed))
                for seed in scale.seeds
                for name in SETTINGS
                for kind in layout.SEEDED
            },
        )
        advance(pool, {f"{name}: smaller": partial(stages.do, folder / name, smaller(scale)) for name in SETTINGS})


def make_teacher(project: Path, source: Path, keep: int, weights: Path | None, scale: Scale) -> None:
    """The setting's project up to its soft labels."""
    if not project.exists():
        with tempfile.TemporaryDirectory() as scratch:
            images, overrides = Path(scratch) / "images", Path(scratch) / "overrides.yaml"
            split(source, images, keep)
            overrides.write_text(yaml.safe_dump(changes(keep, weights, scale)))
            init(project, str(images), "classify", overrides=overrides, origin=None, remote=None)
    subject = f"teacher-{TEACHER}"
    done = [
        Stage("validate"),
        Stage("teacher", (TEACHER,)),
        Stage("evaluate", (subject,)),
        Stage("soft_labels", ("0",)),
    ]
    stages.do(project, done)


def split(source: Path, target: Path, keep: int) -> None:
    """Links to the images, of which one in `keep` of a class's train images, by their names, keeps its label."""
    for name in ("train", "val", "test"):
        for folder in sorted(path for path in (source / name).iterdir() if path.is_dir()):
            for number, image in enumerate(sorted(folder.iterdir())):
                labelled = name != "train" or number % keep == 0
                link = target / name / folder.name / image.name if labelled else target / "unlabelled" / image.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(image.resolve())


def changes(keep: int, weights: Path | None, scale: Scale) -> dict[str, Any]:
    """What the setting's params.yaml has other than the defaults."""
    return {
        "input_size": scale.image_size,
        "seeds": list(scale.seeds),
        "students": [STUDENT],
        "networks": {STUDENT: {"family": "yolo26-cls", "scale": list(scale.network), "start": None}},
        "teacher": {
            TEACHER: {
                "weights": weights and str(weights.resolve()),
                "network": {"scale": scale.teacher if isinstance(scale.teacher, str) else list(scale.teacher)},
                "epochs": scale.teacher_epochs * keep,
            }
        },
        "soft_labels": {"shards": [0]},
        "distill": {"epochs": scale.epochs, "weight": 0.9},
        "prune": {"epochs": scale.recovery, "share": scale.share},
        "validation": {"min_images_per_class": 0},
    }


def student_stages(kind: str, seed: int) -> list[Stage]:
    """Train a student and measure it."""
    stage = "distill" if kind == "distilled" else "control"
    return [Stage(stage, (STUDENT, str(seed))), Stage("evaluate", (f"{STUDENT}-{kind}-{seed}",))]


def smaller(scale: Scale) -> list[Stage]:
    """Prune and quantize the first seed's student, and measure both."""
    made = [Stage("search"), Stage("prune", (STUDENT,)), Stage("evaluate", (f"{STUDENT}-pruned",))]
    for runtime in ("onnx", "openvino"):
        made += [Stage("quantize", (STUDENT, runtime)), Stage("evaluate", (f"{STUDENT}-{runtime}-int8",))]
    return made


def gain(project: Path, id: str, goal: str | None, seeds: Sequence[int]) -> Row:
    """Distilled − control, in points."""
    distilled, control = (
        [project / layout.evaluation(f"{STUDENT}-{kind}-{seed}") for seed in seeds] for kind in ("distilled", "control")
    )
    return stages.gain(id, goal, distilled, control, task="classify")


def runs(project: Path, setting: str) -> list[Mapping[str, Any]]:
    """What every subject of a setting came to on test."""
    task, params = tasks.load("classify"), config.load(project)
    found: list[Mapping[str, Any]] = []
    for subject in layout.subjects(params.teachers, params.students, params.seeds, params.runtimes, params.int8):
        if not (project / layout.evaluation_metrics(subject.name)).exists():
            continue
        metrics = read_json(project / layout.evaluation_metrics(subject.name))
        interval = paired.headline(task.resample, project / layout.evaluation(subject.name))
        figures = {key: metrics[key] for key in ("top1", "top5", "ece", "nll", "parameters", "macs", "size_bytes")}
        found.append(
            {"setting": setting, "subject": subject.name, "low": interval.low, "high": interval.high, **figures}
        )
    return found


if __name__ == "__main__":
    common.run(main)
