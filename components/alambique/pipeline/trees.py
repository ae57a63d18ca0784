"""What DVC's lists of folders' files, and its hashes, may say: they come from a remote, and name paths to write to.

DVC joins them to a folder as they are.
"""

from __future__ import annotations

import re
from typing import Any

from alambique.errors import IntegrityError

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


def require_hash(value: Any, path: str) -> str:
    """The hash of an out or a file as DVC writes it; an IntegrityError if it is none, which could be another path."""
    if not isinstance(value, str) or MD5.fullmatch(value) is None:
        raise IntegrityError(f"{path} has the hash {str(value)[:80]!r}, which is no MD5; who wrote it was not DVC")
    return value


def load_tree(holder: Any, value: str) -> Any:
    """The list of a folder's files, as DVC's `Tree`.

    Args:
        holder: the object store that has it: the cache, or the remote.
        value: its hash, which ends with .dir.
    Raises:
        IntegrityError: it is no list, or names a path that may lead out of its folder, or what is no hash.
        FileNotFoundError: it is not there.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    try:
        tree = Tree.load(holder, HashInfo("md5", require_hash(value, "a folder")))
    except (ObjectFormatError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{value} is no list of a folder's files: {type(error).__name__}: {error}; find out who put it on the DVC "
            "remote, and remove it there"
        ) from error
    names = {parts for parts, _, _ in tree}
    for parts, _, file in tree:
        path = "/".join(parts)
        if not all(_plain(part) for part in parts) or any(parts[:end] in names for end in range(1, len(parts))):
            raise IntegrityError(
                f"the list {value} names the file {path!r}, which may lead out of its folder; nothing of it was "
                "written: find out who put it on the DVC remote, and remove it there"
            )
        if (require_hash(file.value if file else None, path)).endswith(".dir"):
            raise IntegrityError(
                f"the list {value} has a folder's hash for the file {path!r}; remove it from the remote"
            )
    return tree


def _plain(part: str) -> bool:
    return part not in {"", ".", ".."} and "\0" not in part
