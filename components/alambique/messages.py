"""What Airflow's side and the ML side say to each other: JSON files, checked on both ends, never pickles.

A verb is `python -m alambique.verbs VERB --request FILE --result FILE`. All of these travel by XCom, so they hold
hashes and names, never bytes and never a secret.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alambique.config.deployment import Deployment

LockEntry = dict[str, Any]
"""A stage's entry of dvc.lock: cmd, deps, params, outs with their hashes."""


LONGEST_NAME, LONGEST_WHY = 600, 2000
"""Characters of who decides (a DAG's name and its run's have 500) and of the reason: both are kept in the ledger."""

By = Annotated[str, Field(max_length=LONGEST_NAME)]
Why = Annotated[str, Field(max_length=LONGEST_WHY)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Request(Message):
    """What a verb is asked, about the project that runs at `deployment`."""

    deployment: Deployment


def pack(message: Message) -> str:
    """A message as the value of an environment variable: its JSON, compressed, in letters that no shell expands."""
    return base64.urlsafe_b64encode(zlib.compress(message.model_dump_json().encode())).decode()


def unpack(packed: str) -> bytes:
    """The JSON of a packed message."""
    return zlib.decompress(base64.urlsafe_b64decode(packed))


class SnapshotRequest(Request):
    """Freeze what this run starts from.

    Attributes:
        run_id: names the run in git (`runs/<run_id>`) and MLflow; letters, digits, dots, hyphens, underscores.
        digest: the digest of the graph the DAG was built from.
        dag_run: Airflow's own id of the run, for MLflow's tags.
    """

    run_id: str
    digest: str
    dag_run: str | None = None


class Run(Message):
    """What `snapshot` froze, and every later verb of the run gets.

    Attributes:
        revision: the commit every stage of this run is cloned at.
        sources: hash of each path tracked by a `.dvc` file (data, inputs/…), as in a lock entry's deps.
        params: resolved parameters of each stage, as in its lock entry: {stage: {file: {key: value}}}.
        lock: the committed dvc.lock's entries at `revision`.
        champions: the registered version that is champion of each runtime, if any.
        tracking_run: MLflow's id of the parent run; None when runs are not tracked.
    """

    run_id: str
    revision: str
    digest: str
    sources: dict[str, dict[str, Any]]
    params: dict[str, dict[str, dict[str, Any]]]
    lock: dict[str, LockEntry]
    champions: dict[str, str] = {}
    tracking_run: str | None = None


class StageRequest(Request):
    """Do one stage of one commit. `upstream` holds the results of the stages whose outs it depends on."""

    run: Run
    stage: str
    upstream: dict[str, StageResult]


class StageResult(Message):
    """A stage's lock entry and where it came from.

    Attributes:
        found: `ran` here and now, or answered from the committed `lock` or from the remote's `store` of entries.
        seconds: wall time of the stage's own command; 0 when it did not run.
        tracking_run: MLflow's id of the child run, when the stage ran and is tracked.
    """

    stage: str
    key: str
    entry: LockEntry
    found: Literal["ran", "lock", "store"]
    seconds: float = 0.0
    tracking_run: str | None = None


class RunRequest(Request):
    """The request of `register`, `gate` and `record`: a run and all its stages' results."""

    run: Run
    stages: dict[str, StageResult]


class Version(Message):
    """A candidate as the registry knows it.

    Attributes:
        candidate: student-runtime-precision.
        model, version: the registered model (<project>-<runtime>) and its version.
        sha256: of the artifact's folder, as its card says.
        card: SHA-256 of the card itself; empty in runs that were recorded before it was kept.
    """

    candidate: str
    model: str
    version: str
    sha256: str
    card: str = ""


class Registered(Message):
    versions: list[Version]


class GateRequest(RunRequest):
    versions: list[Version]


class Check(Message):
    """One gate's verdict on one candidate.

    Attributes:
        reason: `passed`, `first_model`, or a named ground for refusal; see `alambique.evaluation.gates`.
        explanation: that ground in words.
        value, bound: the candidate's figure, and the last that would have passed.
        low, high: the 95 % interval of its difference from the reference.
        n: test images, or timed runs, that the figure was estimated from.
    """

    gate: str
    passed: bool
    reason: str
    explanation: str = ""
    value: float | None = None
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


class Decision(Message):
    """All verdicts on one candidate."""

    version: Version
    passed: bool
    checks: list[Check]


class Decisions(Message):
    """The gate's outcome: every candidate judged, and at most one challenger for each registered model.

    Attributes:
        champions: digest of the champion that each model's candidates were judged against; none where there was none.
        leaderboard: SHA-256 of the leaderboard.json that was judged; empty in runs recorded before it was kept.
    """

    run_id: str
    decisions: list[Decision]
    challengers: list[Version]
    champions: dict[str, str] = {}
    leaderboard: str = ""


class UnchangedRequest(Request):
    """End a run for which nothing changed since the last recorded one."""

    run: Run


class Unchanged(Message):
    """The commit that holds every result already."""

    revision: str


class EndRequest(Request):
    """See to it that the run's MLflow run has ended, whatever became of its tasks."""

    run: Run


class Ended(Message):
    """How the MLflow run ended, in its words; None: runs are not tracked."""

    status: str | None


class RecordRequest(RunRequest):
    decisions: Decisions


class Recorded(Message):
    """Where the run was kept: the tag, its commit, and whether the branch could be moved to it."""

    tag: str
    revision: str
    branch_moved: bool


class ProposeRequest(Request):
    """Say what promoting the challengers of a recorded run would mean, for the person who decides."""

    tag: str


class Proposal(Message):
    """What a person is asked to approve.

    Attributes:
        judgement: sha256 of the run's decisions.json, which the promotion must find unchanged.
        body: the challengers, the leaderboard and the gates' verdicts, in Markdown.
    """

    tag: str
    judgement: str
    subject: str
    body: str


class PromoteRequest(Request):
    """Make the challengers of a recorded run champions.

    Attributes:
        tag: the run's tag; its decisions.json says which version the gate judged.
        judgement: sha256 of that decisions.json as it was approved; None: nobody was asked.
        by: who decided, for the ledger and the audit trail.
        why: what they gave as the reason.
    """

    tag: str
    judgement: str | None = None
    by: By
    why: Why = ""


class RollbackRequest(Request):
    """Make a model's previous champion its champion again."""

    model: str
    by: By
    why: Why = ""


class Promoted(Message):
    champions: list[Version]


class PublishRequest(Request):
    """Put the present champions of these registered models where devices fetch them from, `deployment.releases`."""

    models: list[str]


class Published(Message):
    """The champions that devices get now: the URL of each model's release, by model; none where it has no champion."""

    releases: dict[str, str]


class ArrivalsRequest(Request):
    """Look for new data at `deployment.arrivals`, without fetching any."""


class Arrivals(Message):
    """What lies there and was not ingested yet.

    Attributes:
        new: files.
        digest: over their names and versions; equal when nothing came or changed since.
    """

    new: int
    digest: str


class IngestRequest(Request):
    """Merge what is new at `deployment.arrivals` into the dataset; the record names `by` as what started it."""

    by: By


class Ingested(Message):
    """What an ingestion did.

    Attributes:
        batch: names its record, `arrivals/<batch>.json`; None: there was nothing new.
        revision: the commit of the branch that holds the dataset now.
        added: images that joined, by split; an image that got its labels later counts again, in its labelled split.
        quarantined: files that were left out, each with its reason in the record.
    """

    batch: str | None
    revision: str
    added: dict[str, int] = {}
    quarantined: int = 0


class DriftRequest(Request):
    """Compare the newest images at `deployment.production` with what the champions were trained on."""

    by: By


class Drift(Message):
    """The verdict on a production batch.

    Attributes:
        verdict: `no_champion` and `too_few` (images) are no verdicts.
        n: images in the batch.
        signals: names of the statistics that differ, after correction for their number.
        report: where the report lies: a URL of MLflow's artifact, or a file.
        ingested: what joined the dataset, on drift.
    """

    verdict: Literal["drift", "no_drift", "too_few", "no_champion"]
    n: int
    signals: list[str] = []
    report: str | None = None
    ingested: Ingested | None = None
