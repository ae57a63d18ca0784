"""Put folders under DVC: those in the project, and a dataset from elsewhere without bringing it into the project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alambique import dvcrepo
from alambique.data.dataset import Dataset
from alambique.errors import TransientError
from alambique.layout import DATA


class _WithoutCaches:
    """A walk that skips what Ultralytics writes beside labels, since it would change the dataset's hash."""

    def walk(self, fs: Any, path: str, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, files in fs.walk(path, **options):
            yield root, folders, [name for name in files if not name.endswith(".cache")]


def add(project: Path, paths: Iterable[str]) -> None:
    """`dvc add` of paths in the project: their bytes go to the cache, their hashes to `.dvc` files."""
    with dvcrepo.opened(project) as repo:
        repo.scm_context.quiet = True  # committing is up to us, not to who reads the log
        repo.add([str(project / path) for path in paths])


def track(workspace: Path, source: Path) -> None:
    """Make the folder `source` the workspace's dataset: hash it, copy what is new to the cache, write data.dvc.

    `dvc add` wants the folder inside the repository, and its `--out` form takes no notice of .dvcignore.

    Raises:
        DataError: `source` is not a dataset in the canonical layout.
        TransientError: a file could not be copied, or changed meanwhile.
    """
    from dvc.fs import localfs
    from dvc.utils.serialize import dump_yaml
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.transfer import transfer

    Dataset.load(source)
    with dvcrepo.opened(workspace) as repo:
        cache = repo.cache.local
        staging, meta, tree = build(cache, str(source.resolve()), localfs, "md5", ignore=_WithoutCaches())
        if failed := transfer(staging, cache, {tree.hash_info}, verify=True, shallow=False).failed:
            raise TransientError(f"{len(failed)} files of {source} could not be copied to DVC's cache; is it full?")
    entry = {"md5": tree.hash_info.value, "size": meta.size, "nfiles": meta.nfiles, "hash": "md5", "path": str(DATA)}
    dump_yaml(str(workspace / f"{DATA}.dvc"), {"outs": [entry]})
