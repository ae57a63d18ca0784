"""A stage of dvc.yaml run as `dvc repro --single-item --force` runs it, without a second interpreter for DVC.

DVC's Python API names the outs, hashes and caches them, and writes the lock entry. The command runs in a process of its
own, with an environment that is allow-listed.
"""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alambique.errors import ERROR_FILE, AlambiqueError, read_error
from alambique.messages import LockEntry

if TYPE_CHECKING:
    from dvc.repo import Repo

DVCStage = Any
"""A stage as DVC has parsed it, `dvc.stage.PipelineStage`; it has no types."""

# All that a stage sees of this process's environment: what tunes the machine, and nothing that opens a door.
_PASSED = re.compile(
    r"LANG|LC_\w+|TZ|TMPDIR|PYTHONPATH|LD_LIBRARY_PATH|(OMP|MKL)_NUM_THREADS|CUDA_VISIBLE_DEVICES"
    r"|NVIDIA_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|YOLO_(CONFIG_DIR|AUTOINSTALL|OFFLINE|VERBOSE)"
)


def begin(repo: Repo, name: str) -> DVCStage:
    """The stage of the root's dvc.yaml with this name, its outs removed from the workspace."""
    from dvc.dvcfile import load_file

    stage = load_file(repo, os.fspath(Path(repo.root_dir) / "dvc.yaml")).stages[name]
    with repo.lock:
        stage.remove_outs()
    return stage


def run_command(stage: DVCStage, folder: Path, places: Mapping[str, Path], home: Path) -> float:
    """Run the stage's command without credentials; its output goes where this process's output goes.

    Args:
        folder: where an error is left.
        places: for what else the stage leaves besides its outs, by environment variable.
        home: the deployment's.
    Returns:
        its wall time, seconds.
    Raises:
        AlambiqueError: the error that the stage left, as the class it was raised as.
    """
    error_file = folder / "error.json"
    variables = {"DVC_ROOT": stage.repo.root_dir, "DVC_STAGE": stage.name, ERROR_FILE: os.fspath(error_file)}
    variables |= {name: os.fspath(path) for name, path in places.items()}
    environment = stage_environment(home) | variables
    started = time.monotonic()
    for command in stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines():
        code = subprocess.run(
            ["/bin/sh", "-c", command], cwd=stage.wdir, env=environment, stdin=subprocess.DEVNULL, check=False
        ).returncode
        if code:
            raise read_error(error_file) or AlambiqueError(
                f"stage {stage.name} failed (`{command}` exited with {code}) and left no error; its output is above"
            )
    return time.monotonic() - started


def save(stage: DVCStage) -> LockEntry:
    """Hash the stage's deps, put its outs into the cache, and return its lock entry as `dvc repro` writes it."""
    from dvc.stage.serialize import to_single_stage_lockfile

    with stage.repo.lock:
        stage.save(run_cache=False)
        stage.commit()
    entry: LockEntry = json.loads(json.dumps(to_single_stage_lockfile(stage)))
    return entry


def md5(repo: Repo, path: Path) -> str | None:
    """The hash of an out or a source as it lies in the workspace now; None: it is not there."""
    from dvc_data.hashfile.build import build

    if not path.exists():
        return None
    _, _, obj = build(repo.cache.local, os.fspath(path), repo.fs, "md5", dry_run=True, ignore=repo.dvcignore)
    value: str = obj.hash_info.value
    return value


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
