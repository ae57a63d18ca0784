"""A project's DVC repository, in process: what the runner, `snapshot` and `record` share.

Hashes are written as DVC writes them in dvc.lock. DVC starts in about a second and a half: one process which calls its
Python API saves most of that.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alambique import git
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, ConfigurationError, TransientError
from alambique.files import reading, scratch
from alambique.messages import LockEntry

if TYPE_CHECKING:
    from dvc.repo import Repo

REMOTE = 'remote "storage"'
"""The section of a new project's remote in DVC's configuration."""
HASH_FIELDS = ("hash", "md5", "size", "nfiles")


def clone(deployment: Deployment, revision: str, target: Path) -> None:
    """Clone the origin into `target` and check out `revision`: a commit, a tag or a branch (which becomes a local one).

    Raises:
        TransientError: the origin is out of reach.
        AlambiqueError: it has no such revision.
    """
    git.clone(deployment.origin, target, "--no-checkout")
    git.checkout(revision, target)


@contextmanager
def cloned(deployment: Deployment, revision: str, name: str) -> Iterator[Path]:
    """A clone of the project with the machine's DVC cache, for the time of the block; its parent is scratch, too.

    Args:
        revision: see `clone`.
        name: of the folder below `home`.
    Raises:
        TransientError: the origin is out of reach.
        ConfigurationError: the project has no DVC remote.
    """
    with scratch(deployment.home.absolute() / "workspaces", name) as folder:
        project = folder / "project"
        clone(deployment, revision, project)
        configure_dvc(project, deployment)
        yield project


def configure_dvc(workspace: Path, deployment: Deployment) -> None:
    """Write `.dvc/config.local`: this machine's shared cache, verified downloads, no telemetry.

    Links into the cache are read-only, which protects it from everyone but root: root gets copies. DVC's own records
    (hashes by inode, locks) stay in the workspace, so workspaces share nothing but immutable content.

    Raises:
        ConfigurationError: the project has no `.dvc` folder, or no remote.
    """
    from dvc.config import Config

    if not (workspace / ".dvc").is_dir():
        raise ConfigurationError(f"{deployment.origin} has no .dvc folder; run `dvc init` and commit it")
    config = Config(os.fspath(workspace / ".dvc"))
    if not config["core"].get("remote"):
        raise ConfigurationError(f"{deployment.origin} has no DVC remote; run `dvc remote add -d NAME URL` and commit")
    site = os.fspath(workspace / ".dvc" / "tmp" / "site")
    links = "reflink,copy" if os.geteuid() == 0 else "reflink,hardlink,symlink,copy"
    write_config(
        workspace / ".dvc" / "config.local",
        {
            "core": {"analytics": "False", "check_update": "False", "site_cache_dir": site},
            "cache": {"dir": os.fspath(deployment.home.absolute() / "cache"), "type": links},
            **{f'remote "{name}"': {"verify": "True"} for name in config["remote"]},
        },
    )


def write_config(path: Path, content: Mapping[str, Mapping[str, str]]) -> None:
    """Write a configuration file as DVC reads it, in UTF-8: DVC itself writes nothing but ASCII.

    Args:
        content: values by section and name.
    """
    from configobj import ConfigObj

    with path.open("wb") as file:
        ConfigObj(content, encoding="utf-8", interpolation=False).write(file)


@contextmanager
def opened(workspace: Path) -> Iterator[Repo]:
    """The workspace's DVC repository; DVC's own errors leave the block as Alambique's.

    Raises:
        TransientError: another process holds its lock, or the remote failed.
        ConfigurationError: dvc.yaml, a params file or DVC's configuration is impossible.
        AlambiqueError: any other failure, in DVC's words.
    """
    from dvc.config import ConfigError
    from dvc.dependency.param import BadParamFileError, MissingParamsError
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.parsing import ResolveError
    from dvc.repo import Repo
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    try:
        with Repo(os.fspath(workspace), uninitialized=True) as repo:
            yield repo
    except LockError as error:
        raise TransientError(f"another process works in {workspace}: {error}") from error
    except (
        ConfigError,
        BadParamFileError,
        MissingParamsError,
        ResolveError,
        YAMLSyntaxError,
        YAMLValidationError,
    ) as error:
        raise ConfigurationError(f"DVC cannot read the project: {error}") from error
    except DvcException as error:
        raise AlambiqueError(f"DVC failed in {workspace}: {error}") from error


def lock_entries(workspace: Path) -> dict[str, LockEntry]:
    """Each stage's entry of dvc.lock, none without the file; an IntegrityError if it is not what DVC writes."""
    path = workspace / "dvc.lock"
    if not path.exists():
        return {}
    content = _load_yaml(path)
    with reading(path, "restore it with `git checkout dvc.lock`"):
        stages: dict[str, LockEntry] = dict(content["stages"])
        for entry in stages.values():
            for item in (*entry.get("outs", ()), *entry.get("deps", ())):
                _ = item["path"], item.get("md5")
        return stages


def write_lock(workspace: Path, entries: dict[str, LockEntry]) -> None:
    """Write dvc.lock (schema 2.0), stages in the order of their names."""
    from dvc.utils.serialize import dump_yaml

    path = workspace / "dvc.lock"
    dump_yaml(os.fspath(path), {"schema": "2.0", "stages": {name: entries[name] for name in sorted(entries)}})


def source_hashes(workspace: Path) -> dict[str, dict[str, Any]]:
    """The hash of each path that a committed `.dvc` file tracks, as in a lock entry's deps: {path: {md5, size, …}}."""
    hashes = {}
    for name in git.git("ls-files", "--", "*.dvc", cwd=workspace).splitlines():
        content = _load_yaml(workspace / name)
        with reading(workspace / name, f"restore it with `git checkout {name}`"):
            for out in content.get("outs", ()):
                path = (Path(name).parent / out["path"]).as_posix()
                hashes[path] = {field: out[field] for field in HASH_FIELDS if field in out}
    return hashes


def resolved_params(workspace: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The parameters of each stage, resolved as DVC writes them to dvc.lock: {stage: {file: {key: value}}}.

    Raises:
        ConfigurationError: a key is missing, or a value has no JSON form (a date, a NaN).
    """
    from dvc.stage.utils import split_params_deps

    with opened(workspace) as repo:
        files = {stage.name: split_params_deps(stage)[0] for stage in pipeline_stages(repo)}
        contents = _param_files([file for stage_files in files.values() for file in stage_files])
        params = {
            stage: {file.def_path: _chosen(file, contents[file.def_path, bool(file.params)]) for file in stage_files}
            for stage, stage_files in files.items()
        }
    try:
        json.dumps(params, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"a parameter that dvc.yaml names has no JSON form: {error}; quote it") from None
    return params


def _param_files(files: list[Any]) -> dict[tuple[str, bool], dict[str, Any]]:
    """What DVC reads of params files for all stages together, by path and whether stages name keys of it.

    Asked stage by stage, DVC would parse a file as often as there are stages.
    """
    alike = defaultdict(list)
    for file in files:
        alike[file.def_path, bool(file.params)].append(file)
    contents = {}
    for place, (first, *others) in alike.items():
        keys = sorted({key for file in (first, *others) for key in file.params})
        contents[place] = type(first)(first.stage, first.def_path, keys, first.repo).get_hash().value
    return contents


def _chosen(file: Any, content: dict[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in file.params} if file.params else dict(content)


def pipeline_stages(repo: Repo) -> Iterator[Any]:
    """The stages of the root's dvc.yaml, `foreach` and `matrix` expanded by DVC's own parser."""
    from dvc.dvcfile import load_file

    stages = load_file(repo, os.fspath(Path(repo.root_dir) / "dvc.yaml")).stages
    for name in stages:
        yield stages[name]


def _load_yaml(path: Path) -> Any:
    from dvc.utils.serialize import load_yaml

    with reading(path, f"restore it with `git checkout {path.name}`"):
        return load_yaml(os.fspath(path))
