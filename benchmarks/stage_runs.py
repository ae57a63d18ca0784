"""The product's stages as benchmarks run them: one thread, each stage once, each resumed where it was killed."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alambique import tasks
from alambique.config import read_yaml
from alambique.data.dataset import Dataset
from alambique.errors import DataError
from alambique.evaluation import paired_bootstrap
from alambique.files import write_text
from alambique.layout import METRICS
from alambique.process.resume_dir import kept_on_laptop
from alambique.runs.new_project import init
from benchmarks import common, datasets
from benchmarks.common import Row


class Stage(NamedTuple):
    """A stage of dvc.yaml and its arguments."""

    name: str
    arguments: tuple[str, ...] = ()

    def metrics(self, project: Path) -> Path:
        """The file that appears when the stage is done."""
        return (project / METRICS / self.name / "-".join(self.arguments)).with_suffix(".json")


def do(project: Path, stages: Sequence[Stage]) -> None:
    """Do those of the stages that are not done."""
    for stage in stages:
        if not stage.metrics(project).exists():
            with kept_on_laptop(project, "-".join((stage.name, *stage.arguments))):
                importlib.import_module(f"alambique.stages.{stage.name}").run(project, *stage.arguments)


def advance(pool: Executor, work: Mapping[str, Callable[[], None]]) -> None:
    """Do all of it, and say so as each is done; the first that fails takes those with it that have not begun."""
    futures = {pool.submit(task): name for name, task in work.items()}
    try:
        for number, future in enumerate(as_completed(futures), start=1):
            future.result()
            common.tell(f"{number} of {len(work)} done: {futures[future]}")
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def lay_out(project: Path, task: str, write: Callable[[Path], object], changes: Mapping[str, Any]) -> None:
    """A project as `alambique init` makes it, unless it is there.

    Args:
        project: its folder.
        task: whose.
        write: makes a folder of data, as people have theirs.
        changes: what its params.yaml has other than the defaults.
    """
    if project.exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        data, overrides = Path(scratch) / "data", Path(scratch) / "overrides.yaml"
        write(data)
        overrides.write_text(yaml.safe_dump(dict(changes)))
        init(project, str(data), task, overrides=overrides, origin=None, remote=None)


def variant(project: Path, name: str, shared: Sequence[str], **changes: Any) -> Path:
    """A project beside `project` which has parts of it in common, by links, but other parameters.

    Args:
        name: of the variant's folder.
        shared: paths inside the project.
        changes: of params.yaml, merged into its sections.
    """
    made = project.with_name(name)
    for path in shared:
        link = made / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(project / path)
    content = read_yaml(project / "params.yaml")
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    write_text(made / "params.yaml", yaml.safe_dump(content, sort_keys=False))
    return made


def gain(id: str, goal: str | None, first: Sequence[Path], second: Sequence[Path], *, task: str = "detect") -> Row:
    """The row of what some evaluations found more than others, in points of the headline metric, paired.

    Args:
        first, second: folders of evaluations, one a seed, those of a seed at the same place.
        task: whose.
    """
    interval = paired_bootstrap.gain(tasks.load(task).resample, first, second)
    value, low, high = (100 * each for each in (interval.value, interval.low, interval.high))
    details = {"seeds": interval.seeds, "images": interval.images}
    return Row(id, value, low, high, interval.seeds * interval.images, goal, details)


def begin() -> None:
    """Make this process one of one thread, and upstream quiet."""
    from ultralytics.utils import LOGGER, torch_utils

    LOGGER.setLevel(logging.WARNING)
    # When a training begins, upstream takes all cores but one, whatever the environment says.
    torch_utils.NUM_THREADS = 1


def given(data: Path | None, weights: Path | None, train: int = 1) -> tuple[Dataset, Path]:
    """The real images and the weights that a full run needs.

    Args:
        data: a dataset in YOLO layout.
        weights: a checkpoint.
        train: how many train images there are at least.
    Raises:
        DataError: either is missing.
    """
    if data is None or weights is None or not weights.is_file():
        raise DataError(
            f"the full benchmark trains on real images (--data is {data}) from COCO's weights (--weights is "
            f"{weights}); give --data PATH, a dataset in YOLO layout such as BCCD, and --weights PATH, a yolo26n.pt"
        )
    return datasets.given(data, {"train": train, "val": 1, "test": 1}), weights
