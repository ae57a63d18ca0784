"""Packs: copies of a large folder's objects in a few tar files on the DVC remote, for workers with an empty cache.

A dataset of 118,000 images is as many objects, each with a round trip of its own. DVC keeps them as they are, by hash;
beside them `packs/<folder's hash>.json` names tar files whose members are such objects. A worker that lacks most of a
folder downloads tar files, hashes every member, and puts it into its cache. What no pack has, DVC downloads.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo

FEWEST = 1000
"""A folder of fewer files is not packed, and a pack of fewer is packed again with what is new."""
SIZE = 256 << 20
"""Bytes after which a pack is full."""
THREADS = 4
"""Packs that are transferred at a time."""
READ = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packs:
    """The packs on a DVC remote.

    Attributes:
        fs: the remote's file system of fsspec, as DVC configured it.
        folder: their path on it.
        cache: DVC's local object database.
        scratch: a local folder for the time of a transfer.
    """

    fs: Any
    folder: str
    cache: Any
    scratch: str

    @classmethod
    def of(cls, repo: Repo) -> Packs | None:
        """Those of the default remote; None: it is a folder, where a tar file saves no round trip."""
        remote = repo.cloud.get_remote()
        if remote.fs.protocol == "local":
            return None
        return cls(remote.fs.fs, f"{remote.path}/packs", repo.cache.local, repo.tmp_dir)

    def write(self, value: str, oids: Collection[str]) -> None:
        """Pack a folder's objects, all of which are in the cache, unless it is small or packed already.

        Full packs of the folder that was packed last are used again where at least half of each is still needed.

        Args:
            value: the folder's hash, which ends with `.dir`.
            oids: the hashes of its files.
        """
        if len(oids) < FEWEST or self.fs.exists(self._index(value)):
            return
        needed = set(oids)
        packs = {name: members for name, members in self._newest().items() if _worth_keeping(members, needed)}
        rest = needed.difference(*packs.values())
        new = {_name(members): members for members in self._grouped(sorted(rest))}
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._upload, new, new.values()))
        self.fs.pipe_file(self._index(value), json.dumps(packs | new).encode())

    def read(self, value: str, missing: Collection[str]) -> None:
        """Put missing objects of a folder into the cache, from packs of which at least half is missing.

        Whatever is wrong with a pack is logged: the objects themselves are still on the remote.

        Args:
            value: the folder's hash.
            missing: hashes of files that the cache lacks.
        """
        if len(missing) < FEWEST or not self.fs.exists(self._index(value)):
            return
        wanted = frozenset(missing)
        try:
            packs = _members(self.fs.cat_file(self._index(value)))
            useful = [name for name, members in packs.items() if 2 * len(wanted.intersection(members)) >= len(members)]
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda name: self._download(name, wanted), useful))
        except (FileNotFoundError, tarfile.TarError, ValueError) as error:
            log.warning("a pack of %s on the DVC remote is damaged: %s; its files come one by one", value, error)

    def _index(self, value: str) -> str:
        return f"{self.folder}/{value.removesuffix('.dir')}.json"

    def _newest(self) -> dict[str, list[str]]:
        """The index that was written last; none that is damaged."""
        self.fs.invalidate_cache()
        try:
            files = [path for path in self.fs.ls(self.folder, detail=False) if path.endswith(".json")]
            return _members(self.fs.cat_file(max(files, key=self.fs.modified))) if files else {}
        except (FileNotFoundError, ValueError):
            return {}

    def _grouped(self, oids: Iterable[str]) -> Iterator[list[str]]:
        """The objects in groups of about `SIZE` bytes."""
        group, size = [], 0
        for oid in oids:
            group.append(oid)
            size += Path(self.cache.oid_to_path(oid)).stat().st_size
            if size >= SIZE:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _upload(self, name: str, oids: list[str]) -> None:
        target = f"{self.folder}/{name}.tar"
        if self.fs.exists(target):
            return
        with tempfile.NamedTemporaryFile(dir=self.scratch) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for oid in oids:
                    with Path(self.cache.oid_to_path(oid)).open("rb") as source:
                        member = tarfile.TarInfo(oid)
                        member.size = os.fstat(source.fileno()).st_size
                        tar.addfile(member, source)
            file.flush()
            self.fs.put_file(file.name, target)

    def _download(self, name: str, wanted: frozenset[str]) -> None:
        with tempfile.NamedTemporaryFile(dir=self.scratch) as file:
            self.fs.get_file(f"{self.folder}/{name}.tar", file.name)
            with tarfile.open(file.name) as tar:
                for member in tar:
                    source = tar.extractfile(member) if member.name in wanted else None
                    if source:
                        self._keep(member.name, source)

    def _keep(self, oid: str, source: IO[bytes]) -> None:
        """Move an object's bytes into the cache if they are what its hash says."""
        target = Path(self.cache.oid_to_path(oid))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{oid}.tmp")
        with partial.open("wb") as file:
            whole = _copy(source, file) == oid
        if whole:
            partial.replace(target)
            self.cache.protect(os.fspath(target))
        else:
            partial.unlink()


def _members(content: bytes) -> dict[str, list[str]]:
    """The hashes in each pack, from an index; a ValueError if it is not one."""
    packs = json.loads(content)
    if not isinstance(packs, dict) or not all(isinstance(members, list) for members in packs.values()):
        raise ValueError("its index is no table of lists")
    return packs


def _worth_keeping(members: Collection[str], needed: set[str]) -> bool:
    return len(members) >= FEWEST and 2 * len(needed.intersection(members)) >= len(members)


def _name(oids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(oids).encode()).hexdigest()


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a file's bytes and return their MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := source.read(READ):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()
