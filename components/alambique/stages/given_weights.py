"""The weights that `snapshot` resolved into inputs/teachers and inputs/students, verified before a stage uses them."""

from __future__ import annotations

from pathlib import Path

from alambique.errors import IntegrityError
from alambique.files import folder_sha256, read_json, sha256

INDEX = "index.json"
"""Of inputs/teachers and inputs/students: {name: {"uri", "sha256", "file"}}."""


def given_weights(folder: Path, name: str, pinned: str | None = None) -> tuple[Path | None, str | None]:
    """The weights that `snapshot` put into `folder`, checked, and where they came from; None where it put none.

    Args:
        folder: inputs/teachers or inputs/students, with its index.json.
        name: of the entry.
        pinned: the sha256 that params.yaml insists on.
    Raises:
        IntegrityError: the file differs from the index or from `pinned`.
    """
    entry = read_json(folder / INDEX)[name]
    if entry["file"] is None:
        return None, None
    path = folder / entry["file"]
    actual = digest(path)
    for whose, expected in (("the index", entry["sha256"]), ("params.yaml", pinned)):
        if expected not in (None, actual):
            raise IntegrityError(
                f"{path} has sha256 {actual[:12]}, but {whose} says {expected[:12]}; "
                "give the right file, or correct the sha256 after you have checked who changed it"
            )
    return path, entry["uri"]


def digest(path: Path) -> str:
    """SHA-256 of a file, or over a folder."""
    return folder_sha256(path) if path.is_dir() else sha256(path)
