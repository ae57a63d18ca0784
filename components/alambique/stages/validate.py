"""Judge the dataset against its contract, and refuse runtimes that this machine cannot make.

The stage succeeds whatever the verdict is, because DVC keeps no outputs of a failed stage and a failed verdict is what
people want to read. Whoever needs valid data asks `require_valid`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alambique import config, tasks
from alambique.data.dataset import LABELLED, Dataset
from alambique.errors import DataError
from alambique.files import fresh_folder, read_json, write_json
from alambique.layout import DATA, METRICS, VALIDATION

if TYPE_CHECKING:
    from alambique.data.manifest import Manifest

VERDICT = METRICS / "validate.json"


def run(project: Path) -> None:
    """Validate `project`'s data.

    Reads   data/
    Writes  validation/{result.json, data_docs/}, metrics/validate.json
    Raises  DataError           data.yaml is unreadable, so that there is nothing to judge
            ConfigurationError  some of the runtimes cannot be made here
    """
    from alambique.data import manifest  # here, since every stage imports this module for its verdict
    from alambique.data.expectations import failures, judge, suites

    params = config.load(project)
    tasks.require_available(tasks.load(params.task), params.runtimes)
    dataset = Dataset.load(project / DATA)
    facts = manifest.build(dataset)
    contract = suites(len(dataset.classes), params.validation.min_boxes_per_class)
    with fresh_folder(project / VALIDATION) as target:
        results = judge(facts, contract, docs=target / "data_docs")
        write_json(target / "result.json", results)
    write_json(project / VERDICT, {**_counts(dataset, facts), **_verdict(failures(results))})


def require_valid(project: Path) -> None:
    """Stop work on a dataset that failed its contract.

    Raises:
        DataError: the verdict in metrics/validate.json failed; the message holds every failure.
    """
    verdict = read_json(project / VERDICT)
    if not verdict["success"]:
        listed = "\n".join(f"- {failure}" for failure in verdict["failures"])
        raise DataError(f"the dataset breaks its contract; correct these and take a new snapshot:\n{listed}")


def _verdict(failures: list[str]) -> dict[str, object]:
    return {"success": not failures, "failures": failures}


def _counts(dataset: Dataset, facts: Manifest) -> dict[str, object]:
    boxes = facts.boxes
    return {
        "images": {split: int((facts.images["split"] == split).sum()) for split in dataset.folders},
        "boxes": {split: int((boxes["split"] == split).sum()) for split in LABELLED},
        "classes": {name: int((boxes["class"] == index).sum()) for index, name in enumerate(dataset.classes)},
    }
