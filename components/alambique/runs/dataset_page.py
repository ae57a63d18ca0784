"""`alambique data`: a dataset's own page, of a project or of what `init --data` takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alambique import config, tasks
from alambique.config import Params
from alambique.data import near_duplicates, summary
from alambique.data.expectations import failures, judge
from alambique.errors import ConfigurationError
from alambique.files import write_text
from alambique.layout import DATA
from alambique.report.dataset_page import DatasetPage, render
from alambique.runs.new_project import temporary_project

if TYPE_CHECKING:
    import pandas as pd

    from alambique.report.thumbnails import LabelledSample

DEFAULT_TASK = "detect"


def write(source: str, task: str | None, output: Path) -> None:
    """Write the page of a dataset to `output`; a dataset that breaks its contract has one, too.

    Args:
        source: a project's folder, or the dataset as `Task.import_dataset` takes it, which is read as by `init`: in a
            temporary folder.
        task: that it is read for; None: the project's, or detect.
    Raises:
        ConfigurationError: a task is given for a project, or `output` is a folder.
        DataError: the dataset cannot be read.
    """
    if output.is_dir():
        raise ConfigurationError(f"--output: {output} is a folder; name a file in it, such as {output / 'data.html'}")
    project = Path(source).expanduser()
    if (project / "params.yaml").is_file() and (project / "dvc.yaml").is_file():
        params = config.load(project)
        if task is not None:
            raise ConfigurationError(f"--task: {project} is a project, whose task is {params.task}; leave it out")
        page = _page(project / DATA, params.project, params, [])
    else:
        with temporary_project(task or DEFAULT_TASK) as (folder, params):
            with _logged() as lines:
                tasks.load(params.task).import_dataset(source, folder / DATA, params)
            page = _page(folder / DATA, source, params, lines)
    write_text(output, page)


def _page(root: Path, title: str, params: Params, read: list[str]) -> str:
    task = tasks.load(params.task)
    facts, dataset = task.facts(root, params), task.dataset(root)
    sample = task.labelled_samples(dataset)
    page = DatasetPage(
        title=title,
        task=params.task,
        read=read,
        broken=failures(judge(facts.tables, facts.contract)),
        classes=dataset.classes,
        tables=facts.tables,
        pairs=_near_duplicates(facts.tables, root, sample),
    )
    return render(page, sample)


def _near_duplicates(
    tables: Mapping[str, pd.DataFrame], root: Path, sample: Callable[[str], LabelledSample]
) -> list[tuple[str, str]]:
    """Paths of samples of val or test, and of those in another split that they resemble."""
    name = summary.samples_name(tables)
    if name == "texts":
        known = tables["texts"][tables["texts"]["error"].isna()]
        pairs = near_duplicates.text_pairs([sample(path).text for path in known["path"]], list(known["split"]))
    else:
        known = tables["images"][tables["images"]["readable"]]
        prints = near_duplicates.fingerprints(root / path for path in known["path"])
        pairs = near_duplicates.image_pairs(prints, list(known["split"]))
    paths = list(known["path"])
    return [(paths[pair.held_out], paths[pair.other]) for pair in pairs]


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What the package logs in the block."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, collector = logging.getLogger("alambique"), Collector(logging.INFO)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(collector)
    try:
        yield lines
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
