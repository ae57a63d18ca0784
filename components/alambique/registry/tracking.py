"""One MLflow parent run per pipeline run, one child run per stage, which logs the stage's metrics files.

Only `start_run` raises if MLflow is out of reach; while a stage runs, a failure to log is a warning.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from alambique import config, git
from alambique.files import read_json
from alambique.layout import CARD, CURVES
from alambique.messages import StageResult
from alambique.process.events import EVENTS_FILE
from alambique.registry.client import artifact_root, connect, forgiving, reachable
from alambique.registry.metrics_tail import following

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN = "alambique.run"
STAGE = "alambique.stage"
KEY = "alambique.key"
FOUND = "alambique.found"
MADE_BY = "alambique.made_by"
"""Tag of a reused stage's child run: the child run in which the stage was executed."""

LONGEST_NAME, LONGEST_VALUE = 250, 6000
"""Characters of a metric's or a param's name, and of a param's value."""
SMALL = 5 * 2**20
KEPT = {CARD, CURVES, "leaderboard.json", "manifest.json", "report.html", "result.json"}
"""Artifacts that are copied to MLflow; weights stay in DVC."""


def start_run(tracking_uri: str | None, project: str, run_id: str, tags: dict[str, str]) -> str | None:
    """The parent run of `run_id`, found by its tag or created in the experiment named like the project.

    Returns:
        MLflow's id of the run; None when there is no `tracking_uri`.
    Raises:
        TransientError: MLflow is out of reach.
        ConfigurationError: the URI or the experiment cannot be used.
    """
    if tracking_uri is None:
        return None
    client = connect(tracking_uri)
    with reachable(tracking_uri):
        experiment = _experiment(client, tracking_uri, project)
        existing = client.search_runs([experiment], f"tags.`{RUN}` = '{run_id}'", max_results=1)
        if existing:
            return str(existing[0].info.run_id)
        return str(client.create_run(experiment, tags={**tags, RUN: run_id}, run_name=run_id).info.run_id)


def _experiment(client: MlflowClient, tracking_uri: str, project: str) -> str:
    from mlflow.exceptions import MlflowException

    if (experiment := client.get_experiment_by_name(project)) is None:
        root = artifact_root(tracking_uri)
        try:
            location = root and f"{root}/{project}"
            return str(client.create_experiment(project, artifact_location=location))
        except MlflowException:  # a project's first two runs may start together
            if (experiment := client.get_experiment_by_name(project)) is None:
                raise
    return str(experiment.experiment_id)


class Child:
    """A stage's run in MLflow, or one that logs nothing if the stage is not tracked."""

    def __init__(self, client: MlflowClient | None = None, run_id: str | None = None) -> None:
        self._client, self._run_id = client, run_id
        self._starting: Thread | None = None

    def start(self, create: Callable[[], Child]) -> None:
        """Become the run that `create` makes, in the background: to import MLflow and open its store takes seconds.

        Whoever needs the run waits for it. A failure is a warning, and then nothing is logged.
        """

        def work() -> None:
            with forgiving("start a child run"):
                child = create()
                self._client, self._run_id = child._client, child._run_id

        self._starting = Thread(target=work, name="alambique-tracking", daemon=True)
        self._starting.start()

    @property
    def client(self) -> MlflowClient | None:
        """None when nothing is tracked."""
        if self._starting:
            self._starting.join()
        return self._client

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None when nothing is tracked."""
        return self._run_id if self.client else None

    def log_outputs(self, workspace: Path, outs: list[str]) -> None:
        """Log a stage's metrics files, and its small artifacts, from `workspace`; failures are warnings."""
        if self.client is None:
            return
        with forgiving("log the outputs"):
            for out in outs:
                for path in _small_artifacts(workspace / out):
                    folder = path.parent.relative_to(workspace).as_posix()
                    self.client.log_artifact(self.run_id, str(path), None if folder == "." else folder)
            self.log_metrics(_metrics(workspace, outs))

    def log_events(self, events: list[dict[str, Any]]) -> None:
        """Log steps of the event file; raises what MLflow raises."""
        for event in events:
            self.log_metrics(event["metrics"], int(event["step"]))

    def log_metrics(self, content: Mapping[str, Any], step: int = 0) -> None:
        """Log every finite number in nested mappings, its keys joined by dots; raises what MLflow raises."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(_name(name), float(value), now, step)
            for name, value in _flatten(content)
            if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        ]
        for batch in _batches(metrics):
            if self.client is not None:
                self.client.log_batch(self.run_id, metrics=batch)

    def end(self, status: str) -> None:
        """Close the run as FINISHED or FAILED; a failure to do so is a warning."""
        if self.client is not None:
            with forgiving("end a child run"):
                self.client.set_terminated(self.run_id, status)


@contextmanager
def stage_run(
    tracking_uri: str | None,
    parent: str | None,
    stage: str,
    key: str | None,
    params: Mapping[str, Mapping[str, Any]],
    events: Path,
) -> Iterator[Child]:
    """A child run for the duration of a stage, to which its event file is logged while it grows.

    Args:
        parent: MLflow's id of the parent run; None: nothing is tracked.
        key: the stage's key, by which later runs find this child; None: it is not to be found.
        params: as in a lock entry, {file: {key: value}}.
        events: JSON lines of {"step", "metrics"}; may not exist yet.
    """
    child = Child()
    if tracking_uri is None or parent is None:
        yield child
        return
    child.start(lambda: _create_child(connect(tracking_uri), parent, stage, key, params, {FOUND: "ran"}))
    status = "FAILED"
    try:
        with following(child.log_events, events):
            yield child
        status = "FINISHED"
    finally:
        child.end(status)


def _create_child(
    client: MlflowClient,
    parent: str,
    stage: str,
    key: str | None,
    params: Mapping[str, Mapping[str, Any]],
    tags: dict[str, str],
) -> Child:
    from mlflow.entities import Param

    known = {KEY: key} if key else {}
    tags = {**tags, **known, STAGE: stage, "mlflow.parentRunId": parent}
    experiment = client.get_run(parent).info.experiment_id
    run_id = client.create_run(experiment, tags=tags, run_name=stage).info.run_id
    flat = {_name(name): str(value)[:LONGEST_VALUE] for content in params.values() for name, value in _flatten(content)}
    for batch in _batches([Param(name, value) for name, value in flat.items()]):
        client.log_batch(run_id, params=batch)
    return Child(client, run_id)


def log_reused(tracking_uri: str | None, parent: str | None, results: Mapping[str, StageResult]) -> None:
    """Show the stages that have no child of their own: one each, with the metrics of the run that did the work, if any.

    Failures are warnings; a second call adds nothing.
    """
    if tracking_uri is None or parent is None:
        return
    with forgiving("log the reused stages"):
        client = connect(tracking_uri)
        experiment = client.get_run(parent).info.experiment_id
        children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=5000)
        shown = {(run.data.tags.get(STAGE), run.data.tags.get(KEY)) for run in children}
        for result in results.values():
            if not result.tracking_run and (result.stage, result.key) not in shown:
                _log_reused(client, experiment, parent, result)


def _log_reused(client: MlflowClient, experiment: str, parent: str, result: StageResult) -> None:
    query = f"tags.`{KEY}` = '{result.key}' AND tags.`{FOUND}` = 'ran' AND attributes.status = 'FINISHED'"
    executed = client.search_runs([experiment], query, max_results=1, order_by=["attributes.start_time ASC"])
    tags = {FOUND: result.found} | ({MADE_BY: executed[0].info.run_id} if executed else {})
    child = _create_child(client, parent, result.stage, result.key, result.entry.get("params", {}), tags)
    for run in executed:
        child.log_metrics(run.data.metrics)
    child.end("FINISHED")


@contextmanager
def laptop_run(project: Path, stage: str) -> Iterator[Child]:
    """`stage_run` for plain `dvc repro`: the parent is one commit with one params.yaml.

    Does nothing unless $MLFLOW_TRACKING_URI is set, nor if a caller follows the stage's events already.
    """
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not tracking_uri or EVENTS_FILE in os.environ:
        yield Child()
        return
    revision = git.git("rev-parse", "--verify", "--quiet", "HEAD", cwd=project, check=False) or "uncommitted"
    digest = hashlib.sha256((project / "params.yaml").read_bytes()).hexdigest()
    params = config.read_yaml(project / "params.yaml")
    run_id = f"laptop-{revision[:12]}-{digest[:12]}"
    parent = start_run(tracking_uri, str(params["project"]), run_id, {"alambique.revision": revision})
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        os.environ[EVENTS_FILE] = str(events)
        try:
            with stage_run(tracking_uri, parent, stage, None, {"params.yaml": params}, events) as child:
                yield child
        finally:
            del os.environ[EVENTS_FILE]
            # The last stage is not known: each stage ends the parent, and later ones are added to it all the same.
            Child(connect(tracking_uri), parent).end("FINISHED")


def _batches(entities: list[Any]) -> Iterator[list[Any]]:
    """MLflow takes at most a hundred params at a time."""
    for start in range(0, len(entities), 100):
        yield entities[start : start + 100]


def _small_artifacts(out: Path) -> list[Path]:
    paths = sorted(out.rglob("*")) if out.is_dir() else [out]
    return [path for path in paths if path.is_file() and path.name in KEPT and path.stat().st_size < SMALL]


def _metrics(workspace: Path, outs: list[str]) -> dict[str, Any]:
    files = (workspace / out for out in outs if out.endswith(".json"))
    return {name: value for file in files if file.is_file() for name, value in read_json(file).items()}


def _flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(content, Mapping):
        yield prefix, content
        return
    for key, value in content.items():
        yield from _flatten(value, f"{prefix}.{key}" if prefix else str(key))


def _name(name: str) -> str:
    """MLflow allows letters, digits and a few signs in names, and so many; a class may be called anything."""
    plain = re.sub(r"[^\w\-./: ]", "_", name)
    if len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
