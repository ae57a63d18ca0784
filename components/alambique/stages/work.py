"""What the stages share: a checked start, outs that appear whole, metrics as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alambique import config, tasks
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.files import fresh_folder, write_json
from alambique.layout import METRICS
from alambique.stages.validate import require_valid
from alambique.tasks import Task

Work = Callable[[Task, Params, Path], Metrics]


def produce(project: Path, out: Path, metrics: str, work: Work) -> None:
    """Do a stage's `work` into its folder `out`, then write its metrics.

    Args:
        project: the project's root.
        out: the stage's out, relative to the root; it appears only if `work` returns.
        metrics: name of the metrics file, without suffix, below metrics/.
        work: called with the task, the parameters and the empty folder to fill.
    Raises:
        DataError: the dataset did not pass validation.
    """
    params = config.load(project)
    require_valid(project)
    with fresh_folder(project / out) as target:
        results = work(tasks.load(params.task), params, target)
    write_json(project / METRICS / f"{metrics}.json", results)
