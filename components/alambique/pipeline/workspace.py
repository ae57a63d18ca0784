"""One stage of one commit, in a clone of its own with the machine's shared DVC cache.

A stage's result is looked up by its key first: in the committed dvc.lock, then among the remote's `locks/`. Only a
stage without a result downloads anything. DVC alone cannot decide this in a clone: `dvc repro --pull` takes a
dependency that is not there for unchanged, and restores the old output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alambique.errors import ConfigurationError, IntegrityError
from alambique.git import git
from alambique.messages import LockEntry, StageRequest, StageResult
from alambique.pipeline import dvc_stage
from alambique.pipeline.dvc_repository import cloned, opened, write_lock
from alambique.pipeline.graph import Graph, Stage, read
from alambique.pipeline.keys import Inputs, answer, inputs
from alambique.pipeline.locks import Store
from alambique.pipeline.resume_store import resumable
from alambique.pipeline.transfer import checkout, upload
from alambique.process.events import EVENTS_FILE
from alambique.process.resume_dir import RESUME_FOLDER

if TYPE_CHECKING:
    from dvc.repo import Repo

Track = Callable[[Inputs, Path], AbstractContextManager[Callable[[Path], str | None]]]
"""Opens a stage's tracking run, given its inputs and its event file. What it yields is called with the workspace when
the stage has succeeded, and returns the run's id."""

Shortcut = Callable[[Stage, Path], bool]
"""Writes a stage's outs into the workspace if nothing has to be computed for them; False: its command must run."""


@dataclass(frozen=True)
class Workspace:
    """A clone in which one stage is found or run.

    Attributes:
        folder: holds the clone, as `project`, and what a stage leaves besides its outs.
        repo: the clone's DVC repository.
        inputs: what the stage's result depends on.
    """

    folder: Path
    repo: Repo
    request: StageRequest
    stage: Stage
    inputs: Inputs

    @property
    def root(self) -> Path:
        return self.folder / "project"

    def find(self, graph: Graph) -> StageResult | None:
        """The stage's result, from the committed dvc.lock or the remote's `locks/`."""
        request = self.request
        if self.stage.always_changed:
            return None
        if result := answer(graph, request.run, request.stage, request.upstream):
            return result
        entry = Store.of(self.repo).get(self.inputs)
        return self._result(entry, "store") if entry else None

    def run(self, track: Track, shortcut: Shortcut) -> StageResult:
        """Have the stage's inputs, run it, push its outs, and only then let others find its result.

        Args:
            track: see `Track`.
            shortcut: see `Shortcut`; what it answers is not tracked.
        """
        self._lay_out()
        events, state = self.folder / "events.jsonl", self.folder / "resume"
        stage = dvc_stage.begin(self.repo, self.stage.name)
        if shortcut(self.stage, self.root):
            return self._result(self._keep(stage), "ran")
        places = {EVENTS_FILE: events, RESUME_FOLDER: state}
        with resumable(self.repo, self.inputs.key, state), track(self.inputs, events) as tracked:
            seconds = dvc_stage.run_command(stage, self.folder, places, self.request.deployment.home)
            entry = self._keep(stage)
            tracking_run = tracked(self.root)
        return self._result(entry, "ran").model_copy(update={"seconds": seconds, "tracking_run": tracking_run})

    def have(self, path: str, result: StageResult) -> None:
        """Have an out of the stage in the workspace, wherever its result came from."""
        if not (self.root / path).exists():
            checkout(self.repo, {out["path"]: out["md5"] for out in result.entry["outs"] if out["path"] == path})

    def _lay_out(self) -> None:
        folders = [path for path, value in self.inputs.deps.items() if isinstance(value, dict)]
        tracked = git("ls-files", "--", *folders, cwd=self.root).splitlines() if folders else []
        if strangers := [path for path in tracked if not path.endswith((".gitignore", ".dvc"))]:
            raise ConfigurationError(
                f"{self.stage.name} depends on the folders {folders}, in which git tracks {strangers}; its key knows "
                "outs only, so move these files elsewhere"
            )
        checkout(self.repo, self.inputs.tracked)

    def _keep(self, stage: dvc_stage.DVCStage) -> LockEntry:
        """Cache and push the outs, and let others find them by the stage's key.

        Returns:
            the stage's lock entry, or the one that another worker stored meanwhile.
        """
        entry = dvc_stage.save(stage)
        self._verify(entry)
        upload(self.repo, [out["md5"] for out in entry["outs"]])
        return entry if self.stage.always_changed else Store.of(self.repo).put(self.inputs, self.stage.name, entry)

    def _verify(self, entry: LockEntry) -> None:
        """Refuse a result whose stage saw other inputs than its key was computed from."""
        folders = [value for value in self.inputs.deps.values() if isinstance(value, dict)]
        inside = {path: digest for folder in folders for path, digest in folder.items()}
        changed = [path for path in inside if dvc_stage.md5(self.repo, self.root / path) != inside[path]]
        if wrong := self.inputs.contradiction(entry) or (changed and f"{', '.join(changed)} changed while it ran"):
            raise IntegrityError(
                f"stage {self.stage.name} saw a stale input, or changed one: {wrong}; its result was dropped. A stage "
                "writes its declared outs and nothing else"
            )

    def _result(self, entry: LockEntry, found: str) -> StageResult:
        content = {"stage": self.stage.name, "key": self.inputs.key, "entry": entry, "found": found}
        return StageResult.model_validate(content)


@contextmanager
def workspace(request: StageRequest) -> Iterator[tuple[Workspace, Graph]]:
    """A clone at the run's commit, gone after the block, and the graph in it.

    Raises:
        IntegrityError: the clone is not what the run was planned on.
        TransientError: the origin is out of reach.
    """
    with cloned(request.deployment, request.run.revision, request.stage) as root:
        graph = read(root)
        if graph.digest != request.run.digest:
            raise IntegrityError(
                f"pipeline.json at {request.run.revision[:12]} has digest {graph.digest[:12]}, but this run was "
                f"planned on {request.run.digest[:12]}; let the DAG be parsed again from that commit, and start a new "
                "run"
            )
        entries = {name: result.entry for name, result in request.upstream.items()}
        wanted = inputs(graph, request.stage, request.run.sources, entries, request.run.params[request.stage])
        write_lock(root, entries)  # no stale entry, least of all the stage's own
        with opened(root) as repo:
            yield Workspace(root.parent, repo, request, graph.stages[request.stage], wanted), graph
