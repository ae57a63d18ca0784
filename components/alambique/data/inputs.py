"""The weights that `runs.resolve_inputs` put into the project, by their index, and the check of one entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alambique.errors import IntegrityError
from alambique.files import folder_sha256, read_json, sha256

INDEX = "index.json"


@dataclass(frozen=True)
class Weights:
    """One entry of an index: where the bytes came from, their SHA-256, and their file beside the index."""

    uri: str | None = None  # as the others: None where nothing is named, which means from scratch
    sha256: str | None = None
    file: str | None = None


def given(folder: Path, name: str, pinned: str | None = None) -> tuple[Path | None, str | None]:
    """Path and URI of the weights of one entry of the index in `folder`, checked; both None where it names no weights.

    Args:
        pinned: the SHA-256 that params.yaml pins.
    Raises:
        IntegrityError: the file differs from the index or from `pinned`.
    """
    entry = read_json(folder / INDEX)[name]
    if entry["file"] is None:
        return None, None
    path = folder / entry["file"]
    actual = digest(path)
    for source, expected in (("the index", entry["sha256"]), ("params.yaml", pinned)):
        if expected not in (None, actual):
            raise IntegrityError(
                f"{path} has sha256 {actual[:12]}, but {source} says {expected[:12]}; "
                "give the right file, or correct the sha256 after you have checked who changed it"
            )
    return path, entry["uri"]


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or `files.folder_sha256` of a folder."""
    return folder_sha256(path) if path.is_dir() else sha256(path)
