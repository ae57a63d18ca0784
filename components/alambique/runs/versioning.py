"""Versions of the dataset: folders tracked by DVC, and the project's commits and tags that refer to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alambique.errors import AlambiqueError, DataError, TransientError
from alambique.files import UNFINISHED
from alambique.git import git, ref
from alambique.layout import DATA
from alambique.pipeline import dvc_repository

DATA_FILE = f"{DATA}.dvc"
MOVED = ("fetch first", "non-fast-forward", "cannot lock ref", "failed to update ref")
"""Git's messages when the branch is not, or no longer, where the commit begins."""


def commit(workspace: Path, branch: str, paths: Iterable[str], message: str) -> str:
    """Commit what changed in `paths` and fast-forward the origin's branch.

    The bytes behind `.dvc` files must have been pushed before, so that every commit's data can be pulled.

    Returns:
        the branch's commit, the old one if nothing changed.
    Raises:
        TransientError: the branch moved since it was cloned, or the origin is out of reach.
        AlambiqueError: the origin refuses the commit, in its words.
    """
    git("add", "--", *paths, cwd=workspace)
    if git("diff", "--cached", "--name-only", cwd=workspace):
        git("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", message, cwd=workspace)
        try:
            git("push", "--quiet", "origin", f"HEAD:refs/heads/{ref(branch)}", cwd=workspace)
        except AlambiqueError as error:
            if not any(words in str(error) for words in MOVED):  # a hook's refusal is "rejected", too
                raise
            raise TransientError(f"{branch} moved meanwhile; a retry starts from its new commit") from error
    return git("rev-parse", "HEAD", cwd=workspace)


def tag(workspace: Path, revision: str) -> None:
    """Tag the first commit with this dataset as data/<first twelve digits of its hash>."""
    name = f"refs/tags/data/{data_hash(workspace)[:12]}"
    if not git("ls-remote", "origin", name, cwd=workspace):
        git("push", "--quiet", "origin", f"{revision}:{name}", cwd=workspace)


def data_hash(workspace: Path) -> str:
    """The md5 of the dataset, as data.dvc has it."""
    md5: str = dvc_repository.source_hashes(workspace)[str(DATA)]["md5"]
    return md5


class _WithoutCaches:
    """A file system walk without what would change the dataset's hash: Ultralytics' *.cache files, and such as a writer
    that was killed left."""

    def walk(self, fs: Any, path: str, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, files in fs.walk(path, **options):
            yield root, folders, [name for name in files if not name.endswith((".cache", UNFINISHED))]


def require_data(workspace: Path) -> None:
    """Refuse with a DataError a project that has neither a folder of data nor a committed dataset, data.dvc."""
    if not (workspace / DATA_FILE).exists():
        raise DataError("the project has no data.dvc; set `data` in alambique.yaml, or `dvc add data` and commit")


def add(project: Path, paths: Iterable[str]) -> None:
    """`dvc add` of paths in the project: their bytes go to the cache, their hashes to `.dvc` files."""
    with dvc_repository.opened(project) as repo:
        repo.scm_context.quiet = True  # DVC's advice to commit would be wrong here
        repo.add([str(project / path) for path in paths])


def track(workspace: Path, source: Path) -> None:
    """Make the folder `source` the workspace's dataset: hash it, copy what is new to the cache, write data.dvc.

    `dvc add` needs the folder inside the repository, and its `--out` ignores .dvcignore.

    Raises:
        TransientError: a file could not be copied, or changed meanwhile.
    """
    from dvc.fs import localfs
    from dvc.utils.serialize import dump_yaml
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.transfer import transfer

    with dvc_repository.opened(workspace) as repo:
        cache = repo.cache.local
        staging, meta, tree = build(cache, str(source.resolve()), localfs, "md5", ignore=_WithoutCaches())
        if failed := transfer(staging, cache, {tree.hash_info}, verify=True, shallow=False).failed:
            raise TransientError(f"{len(failed)} files of {source} could not be copied to DVC's cache; is it full?")
    entry = {"md5": tree.hash_info.value, "size": meta.size, "nfiles": meta.nfiles, "hash": "md5", "path": str(DATA)}
    dump_yaml(str(workspace / f"{DATA}.dvc"), {"outs": [entry]})
