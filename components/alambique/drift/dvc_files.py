"""Single files of a folder that DVC tracks, without pulling the others.

`dvc pull` of single files takes a quarter of a second for each. Here their objects are transferred to the machine's
cache, and read there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alambique.errors import IntegrityError
from alambique.pipeline import dvc_repository
from alambique.pipeline.transfer import reaching


@dataclass(frozen=True)
class Files:
    """A tracked folder.

    Attributes:
        hashes: of each file, by its path in the folder.
        cache, remote: DVC's object stores.
    """

    folder: Path
    hashes: dict[str, Any]
    cache: Any
    remote: Any

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Transfer files to the machine's cache; returns the paths of their objects there, which have no suffix.

        Raises:
            IntegrityError: the remote lacks an object, or holds other bytes than its hash promises.
            TransientError: the remote is out of reach.
        """
        from dvc_data.hashfile.transfer import transfer

        with reaching(self.remote.path):  # `verify`: the cache keeps no damaged object
            transfer(self.remote, self.cache, [self.hashes[name] for name in names], verify=True, shallow=True)
        paths = [Path(self.cache.oid_to_path(self.hashes[name].value)) for name in names]
        for name, path in zip(names, paths, strict=True):
            if not path.exists():
                oid = self.hashes[name].value
                raise IntegrityError(
                    f"{self.folder}/{name}: the DVC remote lacks its object {oid}, or holds other bytes for it; delete "
                    f"{self.remote.oid_to_path(oid)} if it is there, and `dvc push` from where the file still is"
                )
        return paths


@contextmanager
def files(project: Path, folder: Path) -> Iterator[Files]:
    """A folder tracked by the workspace's DVC; only the list of its files is transferred.

    Raises:
        IntegrityError: the remote lacks the list.
        TransientError: the remote is out of reach.
    """
    from dvc_data.hashfile.tree import Tree

    with dvc_repository.opened(project) as repo:
        (out,) = repo.find_outs_by_path(str(project / folder))
        tracked = Files(folder, {".": out.hash_info}, out.cache, repo.cloud.get_remote_odb())
        tracked.fetch(["."])
        tree = Tree.load(tracked.cache, out.hash_info)
        tracked.hashes.update({"/".join(key): hash_info for key, _, hash_info in tree})
        yield tracked
