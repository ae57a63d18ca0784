"""The verbs that Airflow's side calls: `python -m alambique VERB --request FILE --result FILE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alambique import messages
from alambique.files import write_text
from alambique.process import lifeline
from alambique.process.environment import prepare


def snapshot(request: messages.SnapshotRequest) -> messages.Run:
    """Freeze what a run starts from: data, inputs, revision."""
    from alambique.runs.snapshot import snapshot as work

    return work(request)


def arrivals(request: messages.ArrivalsRequest) -> messages.Arrivals:
    """Count what is new where data arrives."""
    from alambique.data.arrivals import count_new as work

    return work(request)


def ingest(request: messages.IngestRequest) -> messages.Ingested:
    """Merge what arrived into the dataset."""
    from alambique.runs.ingest import ingest as work

    return work(request)


def run_stage(request: messages.StageRequest) -> messages.StageResult:
    """Do one stage of one commit in its own workspace."""
    from alambique.pipeline.workspace import run_stage as work

    return work(request)


def register(request: messages.RunRequest) -> messages.Registered:
    """Register every candidate of a run."""
    from alambique.registry.model_versions import register as work

    return work(request)


def gate(request: messages.GateRequest) -> messages.Decisions:
    """Judge every candidate of a run and name the challengers."""
    from alambique.registry.gate_command import gate as work

    return work(request)


def record(request: messages.RecordRequest) -> messages.Recorded:
    """Keep the run as a git tag from which every artifact can be had again."""
    from alambique.runs.record import record as work

    return work(request)


def unchanged(request: messages.UnchangedRequest) -> messages.Unchanged:
    """End a run for which nothing changed."""
    from alambique.runs.record import unchanged as work

    return work(request)


def promote(request: messages.PromoteRequest) -> messages.Promoted:
    """Make the challengers of a recorded run champions."""
    from alambique.registry.promotion import promote as work

    return work(request)


def rollback(request: messages.RollbackRequest) -> messages.Promoted:
    """Make a model's previous champion its champion again."""
    from alambique.registry.promotion import rollback as work

    return work(request)


def propose(request: messages.ProposeRequest) -> messages.Proposal:
    """Say what promoting a run's challengers would mean, for the person who decides."""
    from alambique.registry.approval_request import propose as work

    return work(request)


def publish(request: messages.PublishRequest) -> messages.Published:
    """Put the present champions where devices fetch them from."""
    from alambique.registry.publishing import publish as work

    return work(request)


def drift(request: messages.DriftRequest) -> messages.Drift:
    """Compare the newest production images with what the champion was made from."""
    from alambique.drift.detect_drift import drift as work

    return work(request)


VERBS: dict[str, tuple[type[messages.Message], Callable[[Any], messages.Message]]] = {
    "snapshot": (messages.SnapshotRequest, snapshot),
    "arrivals": (messages.ArrivalsRequest, arrivals),
    "ingest": (messages.IngestRequest, ingest),
    "run-stage": (messages.StageRequest, run_stage),
    "register": (messages.RunRequest, register),
    "gate": (messages.GateRequest, gate),
    "record": (messages.RecordRequest, record),
    "unchanged": (messages.UnchangedRequest, unchanged),
    "promote": (messages.PromoteRequest, promote),
    "rollback": (messages.RollbackRequest, rollback),
    "drift": (messages.DriftRequest, drift),
    "propose": (messages.ProposeRequest, propose),
    "publish": (messages.PublishRequest, publish),
}


def call(verb: str, request: Path, result: Path) -> None:
    """Read a verb's request, do it, and write its result, which appears only when the verb succeeded."""
    lifeline.watch()
    prepare()
    kind, work = VERBS[verb]
    answer = work(kind.model_validate_json(request.read_text()))
    write_text(result, answer.model_dump_json())
