"""Is distilling a classifier of texts worth it? A small student from scratch, with and without a teacher, on test.

    python -m benchmarks.text_quality --data PATH [--jobs N] [--quick]

The student is a BERT of two layers, trained with three seeds on questions of 77 intents (banking77: a folder of
train.csv and test.csv); the teacher is one of three layers, twice as wide, also from scratch. Each setting is a project
as `alambique init` makes it, with the defaults of params.yaml but for what is named here, and its stages are the
product's own. A control has the same start and as many steps as the student that it is compared with, and the labels
alone.

gain_over_control             points of test top-1, distilled − control; every fifth text of a class keeps its label,
                              the others become unlabelled, and the teacher is trained on the labels that are left
gain_over_control_all_labels  the same where all texts are labelled

Intervals are those of the product's report: paired over seeds and test texts. `runs` holds every subject's top-1;
the student of the first seed is also pruned and quantized. Each stage that is done is kept in benchmarks/.runs and,
after an interruption, not done again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml

from alambique import config, layout, tasks
from alambique.demo.intents import Intents
from alambique.errors import DataError
from alambique.files import read_json
from alambique.project import init
from alambique.tasks import paired
from alambique.tasks.text.data import Text, Texts, labelled, write
from alambique.tasks.text_classify.adopt import adopt, disjoint
from benchmarks import common, stages
from benchmarks.common import Row
from benchmarks.distill_quality import advance
from benchmarks.stages import Stage

STUDENT, TEACHER = "small", "main"
KEEP = 5
"""One in so many texts keeps its label where labels are scarce."""
SETTINGS = {"scarce": KEEP, "full": 1}
LARGE = {"layers": 3, "hidden": 192, "heads": 4, "ffn": 768}
SMALL = {"layers": 2, "hidden": 96, "heads": 2, "ffn": 384, "start": None}


class Scale(NamedTuple):
    """How large the benchmark is.

    Attributes:
        epochs: of students and controls.
        teacher_epochs: where all labels are known; where a fifth is, `KEEP` times as many, which are as many steps.
        recovery: epochs after pruning.
        seeds: of students and controls.
    """

    epochs: int = 15
    teacher_epochs: int = 6
    recovery: int = 3
    seeds: tuple[int, ...] = (0, 1, 2)


QUICK = Scale(1, 1, 1, (0,))


def main(
    data: Annotated[Path | None, typer.Option(help="Tables of texts and classes, such as banking77's.")] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each with one thread.")] = 1,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's questions.")] = False,
) -> None:
    """Measure what a teacher of texts is worth."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the jobs
    scale = QUICK if quick else Scale()
    with tempfile.TemporaryDirectory() as scratch:
        source = given(data, Path(scratch), quick)
        digests = [source.digest(split) for split in ("train", "val", "test")]
        folder = Path(scratch) / "runs" if quick else common.state("text_quality", data=digests, scale=scale)
        work(folder, source, scale, jobs)
        rows = [
            gain(folder / "scarce", "gain_over_control", "low > 0", scale.seeds),
            gain(folder / "full", "gain_over_control_all_labels", None, scale.seeds),
        ]
        found = [figures for setting in SETTINGS for figures in runs(folder / setting, setting)]
        common.publish("text_quality", rows, quick=quick, threads=1, jobs=jobs, scale=scale._asdict(), runs=found)


def given(data: Path | None, scratch: Path, quick: bool) -> Texts:
    """The texts of a run, with all their labels.

    Raises:
        DataError: a full run lacks them.
    """
    if quick:
        Intents(train=120, val=24, test=48, unlabelled=0).write(scratch / "source")
        data = scratch / "source"
    if data is None:
        raise DataError("the full benchmark trains on real texts; give --data PATH, such as banking77's folder")
    adopt(str(data), scratch / "adopted")
    return Texts.load(scratch / "adopted")


def work(folder: Path, source: Texts, scale: Scale, jobs: int) -> None:
    """Do every stage that is not done yet.

    Args:
        folder: of the projects.
        source: the texts with all their labels.
        scale, jobs: see `Scale` and `main`.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=stages.begin) as pool:
        advance(
            pool,
            {
                f"{name}: teacher": partial(make_teacher, folder / name, source, keep, scale)
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
        advance(pool, {f"{name}: smaller": partial(stages.do, folder / name, smaller()) for name in SETTINGS})


def make_teacher(project: Path, source: Texts, keep: int, scale: Scale) -> None:
    """The setting's project up to its soft labels."""
    if not project.exists():
        with tempfile.TemporaryDirectory() as scratch:
            texts, overrides = Path(scratch) / "texts", Path(scratch) / "overrides.yaml"
            parts = split(source, keep)
            write(texts, parts, labelled(parts))
            overrides.write_text(yaml.safe_dump(changes(keep, scale)))
            init(project, str(texts), "text_classify", overrides=overrides, origin=None, remote=None)
    subject = f"teacher-{TEACHER}"
    done = [Stage("validate"), Stage("teacher", (TEACHER,)), Stage("evaluate", (subject,))]
    stages.do(project, [*done, Stage("soft_labels", ("0",))])


def split(source: Texts, keep: int) -> dict[str, list[Text]]:
    """The texts by split, when one in `keep` of a class's train texts, in their order there, keeps its label."""
    parts = {name: source.texts(name) for name in ("train", "val", "test")}
    seen = dict.fromkeys(source.classes, 0)
    known: list[Text] = []
    unknown: list[Text] = []
    for text in parts["train"]:
        number = seen[str(text.label)]
        seen[str(text.label)] += 1
        if number % keep:
            unknown.append(text._replace(label=None))
        else:
            known.append(text)
    parts["train"] = known
    # The same words may stand in train twice, with and without a label now.
    return disjoint({**parts, "unlabelled": unknown}) if unknown else parts


def changes(keep: int, scale: Scale) -> dict[str, Any]:
    """What the setting's params.yaml has other than the defaults."""
    return {
        "input_size": 32,
        "seeds": list(scale.seeds),
        "networks": {STUDENT: SMALL},
        "teacher": {TEACHER: {"network": LARGE, "pretrain": 0, "epochs": scale.teacher_epochs * keep}},
        "soft_labels": {"shards": [0]},
        "training": {"learning_rate": 0.001, "vocabulary": 2000},
        "distill": {"epochs": scale.epochs, "temperature": 1.0, "weight": 0.9},
        "prune": {"epochs": scale.recovery},
        "validation": {"min_texts_per_class": 0},
    }


def student_stages(kind: str, seed: int) -> list[Stage]:
    """Train a student and measure it."""
    stage = "distill" if kind == "distilled" else "control"
    return [Stage(stage, (STUDENT, str(seed))), Stage("evaluate", (f"{STUDENT}-{kind}-{seed}",))]


def smaller() -> list[Stage]:
    """Prune and quantize the first seed's student, and measure both."""
    made = [Stage("search"), Stage("prune", (STUDENT,)), Stage("evaluate", (f"{STUDENT}-pruned",))]
    for runtime in ("onnx", "openvino"):
        made += [Stage("quantize", (STUDENT, runtime)), Stage("evaluate", (f"{STUDENT}-{runtime}-int8",))]
    return made


def gain(project: Path, id: str, goal: str | None, seeds: Sequence[int]) -> Row:
    """Distilled − control, in points of top-1."""
    first, second = (
        [project / layout.evaluation(f"{STUDENT}-{kind}-{seed}") for seed in seeds] for kind in ("distilled", "control")
    )
    return stages.gain(id, goal, first, second, task="text_classify")


def runs(project: Path, setting: str) -> list[dict[str, Any]]:
    """What every subject of a setting came to on test, with its interval over test texts."""
    params, task = config.load(project), tasks.load("text_classify")
    found = []
    for subject in layout.subjects(params.teachers, params.students, params.seeds, params.runtimes, params.int8):
        path = project / layout.evaluation_metrics(subject.name)
        if path.exists():
            own = paired.headline(task.resample, project / layout.evaluation(subject.name))
            metrics = read_json(path)
            figures = {key: metrics[key] for key in ("top1", "parameters", "size_bytes")}
            found.append({"setting": setting, "subject": subject.name, **figures, "low": own.low, "high": own.high})
    return found


if __name__ == "__main__":
    common.run(main)
