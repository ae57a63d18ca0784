"""Content between a workspace and the DVC remote, and what is wrong when it does not come."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from alambique.config.deployment import FOR_S3
from alambique.errors import AlambiqueError, ConfigurationError, IntegrityError, TransientError
from alambique.files import reading
from alambique.pipeline.dvc_repository import opened
from alambique.pipeline.packs import Packs
from alambique.pipeline.trees import load_tree, require_hash

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo


def pull(workspace: Path, paths: Iterable[str]) -> None:
    """Have exactly these outs and sources in the workspace, from the machine's cache or else the remote.

    Raises:
        as `checkout`.
    """
    if hashes := tracked_hashes(workspace, paths):
        with opened(workspace) as repo:
            checkout(repo, hashes)


def push(workspace: Path, paths: Iterable[str]) -> None:
    """Upload outs or sources from the machine's cache to the remote; a TransientError if that fails."""
    if hashes := tracked_hashes(workspace, paths):
        with opened(workspace) as repo:
            upload(repo, hashes.values())


def tracked_hashes(workspace: Path, paths: Iterable[str]) -> dict[str, str]:
    """The md5 that dvc.lock or a `.dvc` file has for each out or source.

    Read without DVC, which would parse and resolve every stage of the project for it.

    Raises:
        IntegrityError: neither names one of them.
    """
    wanted = list(paths)
    files = [path for path in (workspace / f"{name}.dvc" for name in wanted) if path.exists()]
    known = {}
    for file in files:
        with reading(file, "restore it from git"):
            for out in _strings(file)["outs"]:
                known[(file.parent / out["path"]).relative_to(workspace).as_posix()] = out["md5"]
    lock = workspace / "dvc.lock"
    if len(files) < len(wanted) and lock.exists():
        with reading(lock, "restore it from git"):
            for entry in _strings(lock)["stages"].values():
                known |= {out["path"]: out["md5"] for out in entry.get("outs", ())}
    if unknown := [path for path in wanted if path not in known]:
        raise IntegrityError(f"neither dvc.lock nor a `.dvc` file in {workspace} has a hash of {', '.join(unknown)}")
    return {path: known[path] for path in wanted}


def _strings(path: Path) -> Any:
    """The content of a YAML file, every scalar as its text."""
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506  it makes str


def checkout(repo: Repo, hashes: Mapping[str, str]) -> None:
    """Have the content with these hashes at these paths, from the machine's cache or else the remote.

    Args:
        hashes: md5 by path, as DVC writes them: a folder's ends with `.dir`.
    Raises:
        IntegrityError: the remote lacks an object, holds other bytes than its hash promises, or a list of files that
            would lead out of its folder.
        TransientError: the remote is out of reach.
        AlambiqueError: a file that was edited by hand is in the way.
    """
    from dvc_data.hashfile import load
    from dvc_data.hashfile.checkout import CheckoutError, PromptError
    from dvc_data.hashfile.checkout import checkout as link

    for path, value in hashes.items():
        require_hash(value, path)
    _fetch(repo, hashes)
    for path, value in hashes.items():
        target = os.fspath(Path(repo.root_dir) / path)
        content = load(repo.cache.local, _hash_info(value))
        try:
            link(target, repo.fs, content, repo.cache.local, state=repo.state, ignore=repo.dvcignore)
        except (CheckoutError, PromptError) as error:
            raise AlambiqueError(f"cannot write {target}: {error}; move what was edited there elsewhere") from error


def upload(repo: Repo, hashes: Iterable[str]) -> None:
    """Upload the content with these hashes from the machine's cache to the remote; a TransientError if that fails."""
    objects = {value: [*_objects(value, repo.cache.local)] for value in hashes}
    packs = Packs.of(repo)
    with reaching(repo.cloud.get_remote().path):
        failed = repo.cloud.push([_hash_info(oid) for oids in objects.values() for oid in oids]).failed
        for value, (_, *files) in objects.items():
            if packs and not failed:
                packs.write(value, files)
    if failed:
        raise TransientError(f"uploading {len(failed)} objects to the DVC remote failed; see the log above")


@contextmanager
def reaching(remote: str) -> Iterator[None]:
    """Name the remote in whatever a storage library raises; DVC's errors and a missing or existing file stay.

    Raises:
        ConfigurationError: the remote refuses these credentials.
        TransientError: anything else.
    """
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError
    from dvc.exceptions import DvcException
    from dvc_objects.errors import ObjectFormatError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError(f"no credentials for the DVC remote {remote}: {error}; {FOR_S3}") from None
    except (AlambiqueError, DvcException, ObjectFormatError, FileNotFoundError, FileExistsError):
        raise
    except PermissionError as error:
        raise ConfigurationError(f"the DVC remote {remote} refuses access: {error}; check the credentials") from error
    except Exception as error:  # every storage library has its own
        raise TransientError(f"the DVC remote {remote} failed: {type(error).__name__}: {error}") from error


def _fetch(repo: Repo, hashes: Mapping[str, str]) -> None:
    """Have the objects in the machine's cache: the lists of folders' files first, for they name the others.

    A list that leads out of its folder is refused here, before anything is written.
    """
    from dvc_objects.errors import ObjectFormatError

    cache = repo.cache.local
    try:
        with reaching(repo.cloud.get_remote().path):
            _download(repo, {value: [value] for value in hashes.values()})
            _download(repo, {value: [*_objects(value, cache)] for value in hashes.values()})
    except (FileNotFoundError, ObjectFormatError) as error:
        raise _blame(repo, hashes) or TransientError(
            f"downloading from the DVC remote failed: {error}; see the log above"
        ) from None


@contextmanager
def _exclusive(cache: Any) -> Iterator[None]:
    """One download into the machine's cache at a time: DVC verifies, and drops, what another process is still writing.

    The lock ends with the process that holds it.
    """
    path = Path(cache.path)
    path.mkdir(parents=True, exist_ok=True)
    with (path / "download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(repo: Repo, objects: Mapping[str, Sequence[str]]) -> None:
    """Download what the cache lacks: from packs where they hold much of it, the rest one by one.

    Args:
        objects: hashes of objects by that of the file or folder they belong to.
    Raises:
        FileNotFoundError: some did not come, or not as their hashes promise.
    """
    cache = repo.cache.local
    if not (missing := _missing(cache, dict.fromkeys(chain.from_iterable(objects.values())))):
        return  # without waiting for what others download
    with _exclusive(cache):
        missing = _missing(cache, missing)
        if missing and (packs := Packs.of(repo)):
            lacking = frozenset(missing)
            for value, oids in objects.items():
                packs.read(value, lacking.intersection(oids))
            missing = _missing(cache, missing)
        if missing:
            repo.cloud.pull([_hash_info(oid) for oid in missing])
            if lost := _missing(cache, missing):
                raise FileNotFoundError(f"{len(lost)} of {len(missing)} objects")


def _missing(cache: Any, oids: Iterable[str]) -> list[str]:
    return [oid for oid in oids if not _have(cache, oid)]


def _blame(repo: Repo, hashes: Mapping[str, str]) -> AlambiqueError | None:
    """What kept content from coming: an object that the remote lacks or that is not its hash; None: neither."""
    cache, remote = repo.cache.local, repo.cloud.get_remote_odb()
    try:
        with reaching(remote.path):
            for path, value in hashes.items():
                for oid in _objects(value, cache if _have(cache, value) else remote):
                    if not _have(cache, oid) and (wrong := _wrong(remote, oid)):
                        return _lost(path, oid, wrong, remote.oid_to_path(oid))
    except AlambiqueError as error:
        return error
    return None


def _lost(path: str, oid: str, wrong: str, place: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: its object {oid} {wrong} on the DVC remote; delete {place} if it is there and `dvc push {path}` from "
        "where it still is, or have it made again: remove its stage's entry from dvc.lock, and its locks/<key>.json "
        "from the remote"
    )


def _objects(value: str, holder: Any) -> Iterator[str]:
    """The hash itself; of a folder, whose list of files is an object of its own, also those of its files."""
    yield value
    if value.endswith(".dir"):
        yield from (file.value for _, _, file in load_tree(holder, value))


def _hash_info(value: str) -> HashInfo:
    from dvc_data.hashfile.hash_info import HashInfo

    return HashInfo("md5", value)


def _have(cache: Any, oid: str) -> bool:
    return bool(cache.fs.exists(cache.oid_to_path(oid)))


def _wrong(remote: Any, oid: str) -> str | None:
    """What is wrong with an object of the remote: read here, because DVC's own check would delete it."""
    from dvc_data.hashfile.hash import hash_file

    try:
        _, actual = hash_file(remote.oid_to_path(oid), remote.fs, "md5")
    except FileNotFoundError:
        return "is missing"
    return None if actual.value == oid.removesuffix(".dir") else f"has other bytes (md5 {actual.value})"
