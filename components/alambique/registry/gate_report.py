"""The gate's decisions of a recorded run, read from its commit: approvals and promotions rest on it."""

from __future__ import annotations

from typing import NamedTuple

from alambique.errors import ConfigurationError
from alambique.files import sha256
from alambique.git import fetched
from alambique.layout import DECISIONS
from alambique.messages import Decisions
from alambique.pipeline import dvc_repository


class GateReport(NamedTuple):
    """The gates' verdicts on all candidates of one recorded run.

    Attributes:
        tag: the run's git tag.
        sha256: of its decisions.json.
        outs: paths that the commit's dvc.lock has an entry for.
    """

    tag: str
    decisions: Decisions
    sha256: str
    outs: frozenset[str]


def read_gate_report(origin: str, tag: str) -> GateReport:
    """The gate report of a recorded run, from its commit in `origin`, without a clone.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        TransientError: the origin is out of reach.
    """
    with fetched(origin, f"refs/tags/{tag}", "--depth=1") as (folder, commit):
        if commit is None:
            raise ConfigurationError(f"{origin} has no tag {tag}; `git ls-remote --tags` lists the recorded runs")
        path = folder / DECISIONS
        if not path.is_file():
            raise ConfigurationError(f"{tag} holds no {DECISIONS}: it is not a recorded run; give the tag of one")
        entries = dvc_repository.lock_entries(folder).values()
        outs = frozenset(str(out["path"]) for entry in entries for out in entry.get("outs", ()))
        return GateReport(tag, Decisions.model_validate_json(path.read_text()), sha256(path), outs)
