"""Find the student, the share to prune and the precision that meet the budget of params.yaml.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/
Writes  search/choice.json, metrics/search.json

Without a budget there is nothing to find: each student loses `prune.ratio`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from alambique import config, runtimes, tasks
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CHOICE, SEARCH
from alambique.report import search
from alambique.stages.work import produce
from alambique.tasks.base import Task

logger = logging.getLogger(__name__)


def run(project: Path) -> None:
    """Choose what share of each student is pruned. A budget out of reach is a warning: the gates refuse.

    Raises:
        ConfigurationError: a runtime's files cannot be made here.
    """

    def work(task: Task, params: Params, target: Path) -> Metrics:
        if not params.budget.asked:
            write_json(target / CHOICE.name, {"shares": dict.fromkeys(params.students, params.prune.ratio)})
            return {"trainings": 0}
        runtimes.require_available(params.runtimes)
        return task.search(project, params, target)

    produce(project, SEARCH, "search", work)
    choice = search.read(project)
    if "chosen" in choice:
        params = config.load(project)
        headline = tasks.load(params.task).measures[params.HEADLINE]
        say = logger.info if choice["meets_budget"] else logger.warning
        for line in search.verdict(choice, headline.label):
            say("%s", line)
