"""Judge the dataset against its contract, and refuse runtimes that this machine cannot make.

The stage succeeds whatever the verdict is, because DVC keeps no outputs of a failed stage and a failed verdict is what
people want to read. Whoever needs valid data asks `require_valid`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from alambique import config, runtimes, tasks
from alambique.data import summary
from alambique.errors import DataError
from alambique.files import fresh_folder, read_json, write_json
from alambique.layout import DATA, METRICS, VALIDATION

log = logging.getLogger(__name__)

VERDICT = METRICS / "validate.json"


def run(project: Path) -> None:
    """Validate `project`'s data.

    Reads   data/
    Writes  validation/{result.json, data_docs/}, metrics/validate.json
    Raises  DataError           the dataset is unreadable, so that there is nothing to judge
            ConfigurationError  some of the runtimes cannot be made here
    """
    from alambique.data.expectations import failures, judge  # here, since every stage imports this module

    params = config.load(project)
    task = tasks.load(params.task)
    runtimes.require_available(params.runtimes)
    facts = task.facts(project / DATA, params)
    with fresh_folder(project / VALIDATION) as target:
        results = judge(facts.tables, facts.contract, docs=target / "data_docs")
        write_json(target / "result.json", results)
    failed = failures(results)
    log.info("%s", "\n".join(summary.lines(facts.tables)))
    write_json(project / VERDICT, {**facts.counts, "success": not failed, "failures": failed})


def require_valid(project: Path) -> None:
    """Stop work on a dataset that failed its contract.

    Raises:
        DataError: the verdict in metrics/validate.json failed; the message holds every failure.
    """
    verdict = read_json(project / VERDICT)
    if not verdict["success"]:
        listed = "\n".join(f"- {failure}" for failure in verdict["failures"])
        raise DataError(f"the dataset breaks its contract; correct these and take a new snapshot:\n{listed}")
