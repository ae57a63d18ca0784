"""One stage of one commit, in a clone of its own with the machine's shared DVC cache. The runner decides, DVC executes.

A stage's result is looked up by its key first: in the committed dvc.lock, then among the remote's `locks/`. Only a
stage without a result downloads anything. DVC alone cannot decide this in a clone: `dvc repro --pull` takes a
dependency that is not there for unchanged, and restores the old output.
"""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from alambique.errors import ERROR_FILE, AlambiqueError, ConfigurationError, IntegrityError, read_error
from alambique.git import git
from alambique.messages import LockEntry, StageRequest, StageResult
from alambique.pipeline.dvc_repository import clone, configure_dvc, lock_entries, write_lock
from alambique.pipeline.graph import Graph, Inputs, Stage, answer, inputs, read
from alambique.pipeline.locks import store
from alambique.pipeline.resume_store import resumable
from alambique.pipeline.transfer import pull, push, workspace_hashes
from alambique.process.events import EVENTS_FILE
from alambique.process.resume_dir import RESUME_FOLDER
from alambique.process.scratch import scratch
from alambique.stages.validate import VERDICT, require_valid

# All that a stage sees of this process's environment: what tunes the machine, and nothing that opens a door.
_PASSED = re.compile(
    r"LANG|LC_\w+|TZ|TMPDIR|PYTHONPATH|LD_LIBRARY_PATH|(OMP|MKL)_NUM_THREADS|CUDA_VISIBLE_DEVICES"
    r"|NVIDIA_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|YOLO_(CONFIG_DIR|AUTOINSTALL|OFFLINE|VERBOSE)"
)


def run_stage(request: StageRequest) -> StageResult:
    """Find the result of a stage by its key, or else run the stage and keep its result.

    Raises:
        IntegrityError: the clone is not what the run was planned on, an object or lock entry is missing or damaged, or
            the stage saw other inputs than its key says.
        DataError: the dataset failed validation; the result is kept all the same.
        TransientError: the origin or the DVC remote is out of reach.
        AlambiqueError: whatever the stage left as its error.
    """
    with scratch(request.deployment.home.absolute() / "workspaces", request.stage) as folder:
        workspace = folder / "project"
        clone(request.deployment, request.run.revision, workspace)
        graph = _planned(request, workspace)
        configure_dvc(workspace, request.deployment)
        result = _find(request, graph, workspace) or _run(request, graph, folder)
        if str(VERDICT) in graph.stages[request.stage].outs:
            _refuse_failed_verdict(workspace, result)
        return result


def _planned(request: StageRequest, workspace: Path) -> Graph:
    graph = read(workspace)
    if graph.digest != request.run.digest:
        raise IntegrityError(
            f"pipeline.json at {request.run.revision[:12]} has digest {graph.digest[:12]}, but this run was planned on "
            f"{request.run.digest[:12]}; let the DAG be parsed again from that commit, and start a new run"
        )
    return graph


def _inputs(request: StageRequest, graph: Graph) -> Inputs:
    entries = {name: result.entry for name, result in request.upstream.items()}
    return inputs(graph, request.stage, request.run.sources, entries, request.run.params[request.stage])


def _find(request: StageRequest, graph: Graph, workspace: Path) -> StageResult | None:
    if graph.stages[request.stage].always_changed:
        return None
    if found := answer(graph, request.run, request.stage, request.upstream):
        return found
    wanted = _inputs(request, graph)
    with store(workspace) as entries:
        entry = entries.get(wanted)
    return StageResult(stage=request.stage, key=wanted.key, entry=entry, found="store") if entry else None


def _run(request: StageRequest, graph: Graph, folder: Path) -> StageResult:
    """Pull the stage's inputs, run it, push its outs, and only then let others find its result."""
    from alambique.registry.tracking import stage_run

    stage, run, workspace = graph.stages[request.stage], request.run, folder / "project"
    wanted = _inputs(request, graph)
    _lay_out(request, workspace, wanted)
    uri, events, state = request.deployment.tracking_uri, folder / "events.jsonl", folder / "resume"
    with resumable(workspace, wanted.key, state):  # until the result is safe
        with stage_run(uri, run.tracking_run, stage.name, wanted.key, wanted.params, events) as child:
            started = time.monotonic()
            _reproduce(stage.name, folder, {EVENTS_FILE: events, RESUME_FOLDER: state}, request.deployment.home)
            seconds = time.monotonic() - started
            entry = _verified(stage, wanted, workspace)
            child.log_outputs(workspace, list(stage.outs))
        push(workspace, stage.outs)
        if not stage.always_changed:
            with store(workspace) as entries:
                entry = entries.put(wanted, stage.name, entry)
    return StageResult(
        stage=stage.name, key=wanted.key, entry=entry, found="ran", seconds=seconds, tracking_run=child.run_id
    )


def _lay_out(request: StageRequest, workspace: Path, wanted: Inputs) -> None:
    """Have the stage's inputs in the workspace, and in dvc.lock the entries they come from, but no stale one."""
    folders = [path for path, value in wanted.deps.items() if isinstance(value, dict)]
    tracked = git("ls-files", "--", *folders, cwd=workspace).splitlines() if folders else []
    if strangers := [path for path in tracked if not path.endswith((".gitignore", ".dvc"))]:
        raise ConfigurationError(
            f"{request.stage} depends on the folders {folders}, in which git tracks {strangers}; its key knows outs "
            "only, so move these files elsewhere"
        )
    write_lock(workspace, {name: result.entry for name, result in request.upstream.items()})
    pull(workspace, wanted.tracked)


def _reproduce(stage: str, folder: Path, places: Mapping[str, Path], home: Path) -> None:
    """Run the stage's command by DVC, without credentials; its output goes where this process's output goes.

    Args:
        folder: holds the workspace, as `project`.
        places: for what the stage leaves besides its outs, by environment variable.
        home: the deployment's.
    Raises:
        AlambiqueError: the error that the stage left, as the class it was raised as; DVC itself always exits with 255.
    """
    error_file = folder / "error.json"
    told = {name: os.fspath(path) for name, path in {ERROR_FILE: error_file, **places}.items()}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "--no-run-cache", stage],
        cwd=folder / "project",
        env=stage_environment(home) | told,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise read_error(error_file) or AlambiqueError(
            f"stage {stage} failed (dvc repro exited with {done.returncode}) and left no error; its output is above"
        )


def stage_environment(home: Path) -> dict[str, str]:
    """A stage's environment: the allow-listed variables, this interpreter first on PATH, a home without secrets."""
    stage_home = home.absolute() / "stage-home"  # kept, for it gathers caches such as matplotlib's fonts
    stage_home.mkdir(parents=True, exist_ok=True)
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    return passed | {
        "PATH": os.pathsep.join([os.fspath(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": os.fspath(stage_home),
        "PYTHONUSERBASE": site.getuserbase(),  # otherwise derived from HOME
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def _verified(stage: Stage, wanted: Inputs, workspace: Path) -> LockEntry:
    """The stage's new lock entry, when the stage saw exactly the inputs that its key was computed from."""
    entry: LockEntry = lock_entries(workspace)[stage.name]
    folders = [value for value in wanted.deps.values() if isinstance(value, dict)]
    inside = {path: digest for folder in folders for path, digest in folder.items()}
    found = workspace_hashes(workspace, inside)
    changed = [path for path in inside if found[path] != inside[path]]
    if wrong := wanted.contradiction(entry) or (changed and f"{', '.join(changed)} changed while it ran"):
        raise IntegrityError(
            f"stage {stage.name} saw a stale input, or changed one: {wrong}; its result was dropped. A stage writes "
            "its declared outs and nothing else"
        )
    return entry


def _refuse_failed_verdict(workspace: Path, result: StageResult) -> None:
    """Fail the task of a dataset that failed: `validate` itself succeeds, so that its findings are kept."""
    if not (workspace / VERDICT).exists():
        write_lock(workspace, {result.stage: result.entry})
        pull(workspace, [str(VERDICT)])
    require_valid(workspace)
