"""Content between a workspace and the DVC remote, and what is wrong when it does not come."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alambique.errors import AlambiqueError, ConfigurationError, IntegrityError, TransientError
from alambique.pipeline.dvc_repository import opened

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo


def pull(workspace: Path, paths: Iterable[str]) -> None:
    """Have exactly these outs and sources in the workspace, from the machine's cache or else the remote.

    Raises:
        IntegrityError: the remote lacks an object, or holds other bytes than its hash promises.
        TransientError: the remote is out of reach.
    """
    from dvc.exceptions import CheckoutError, DownloadError
    from dvc_objects.errors import ObjectFormatError

    targets = [os.fspath(workspace / path) for path in paths]
    if not targets:
        return
    with opened(workspace) as repo:
        try:
            with reaching(repo.cloud.get_remote().path):
                repo.pull(targets=targets)
        except (CheckoutError, DownloadError, ObjectFormatError) as error:
            raise _blame(repo, targets, error) from None


def push(workspace: Path, paths: Iterable[str]) -> None:
    """Upload outs or sources from the machine's cache to the remote.

    Raises:
        TransientError: the upload failed.
    """
    from dvc.exceptions import UploadError

    targets = [os.fspath(workspace / path) for path in paths]
    if not targets:
        return
    with opened(workspace) as repo:
        try:
            with reaching(repo.cloud.get_remote().path):
                repo.push(targets=targets)
        except UploadError as error:
            raise TransientError(f"uploading to the DVC remote failed: {error}; see the log above") from error


def workspace_hashes(workspace: Path, paths: Iterable[str]) -> dict[str, str | None]:
    """The hash of outs and sources as they lie in the workspace now; None for what is not there."""
    with opened(workspace) as repo:
        outs = {path: _out(repo, os.fspath(workspace / path)) for path in paths}
        return {path: out.get_hash().value if out.exists else None for path, out in outs.items()}


@contextmanager
def reaching(remote: str) -> Iterator[None]:
    """Name the remote in whatever a storage library raises; DVC's errors and a missing or existing file stay.

    Raises:
        ConfigurationError: the remote refuses these credentials.
        TransientError: anything else.
    """
    from dvc.exceptions import DvcException
    from dvc_objects.errors import ObjectFormatError

    try:
        yield
    except (AlambiqueError, DvcException, ObjectFormatError, FileNotFoundError, FileExistsError):
        raise
    except PermissionError as error:
        raise ConfigurationError(f"the DVC remote {remote} refuses access: {error}; check the credentials") from error
    except Exception as error:  # every storage library has its own
        raise TransientError(f"the DVC remote {remote} failed: {type(error).__name__}: {error}") from error


def _out(repo: Repo, target: str) -> Output:
    (out,) = repo.find_outs_by_path(target)
    return out


def _blame(repo: Repo, targets: list[str], failure: Exception) -> AlambiqueError:
    """What kept `targets` from coming: an object that the remote lacks or that is not its hash, or else the network."""
    remote = repo.cloud.get_remote_odb()
    try:
        with reaching(remote.path):
            for out in (_out(repo, target) for target in targets):
                for oid in _objects(out, remote):
                    if not _have(out.cache, oid) and (wrong := _wrong(remote, oid)):
                        return _lost(out.def_path, oid, wrong, remote.oid_to_path(oid))
    except AlambiqueError as error:
        return error
    return TransientError(f"downloading from the DVC remote failed: {failure}; see the log above")


def _lost(path: str, oid: str, wrong: str, place: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: its object {oid} {wrong} on the DVC remote; delete {place} if it is there and `dvc push {path}` from "
        "where it still is, or have it made again: remove its stage's entry from dvc.lock, and its locks/<key>.json "
        "from the remote"
    )


def _objects(out: Output, remote: Any) -> Iterator[str]:
    """The hash of the out; of a folder, whose list of files is an object itself, also those of its files."""
    from dvc_data.hashfile.tree import Tree

    yield out.hash_info.value
    if out.hash_info.isdir:
        holder = out.cache if _have(out.cache, out.hash_info.value) else remote
        yield from (file.value for _, _, file in Tree.load(holder, out.hash_info))


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
