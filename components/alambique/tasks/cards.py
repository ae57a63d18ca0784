"""The card in a checkpoint's or candidate's folder: what lies there, and whether it still does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alambique.errors import IntegrityError
from alambique.files import read_json, sha256
from alambique.layout import CARD, WEIGHTS, artifact_digest


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint or candidate, once every file it describes is what it says.

    Raises:
        IntegrityError: there is no card, or a file is missing, changed, or not on the card; the message names it.
    """
    if not (folder / CARD).is_file():
        raise IntegrityError(f"{folder} has no {CARD}: it is not a finished checkpoint or candidate; make it again")
    card: dict[str, Any] = read_json(folder / CARD)
    for name, expected in sorted(card_files(card).items()):
        path = folder / name
        actual = sha256(path) if path.is_file() else "missing"
        if actual != expected:
            raise IntegrityError(
                f"{path}: sha256 is {actual[:12]}, but its card says {expected[:12]}; "
                "the file was changed after it was made: restore it (`dvc checkout`) or make it again"
            )
    if "runtime" in card and artifact_digest(folder) != card["digest"]:
        raise IntegrityError(
            f"{folder} holds other files than its card's digest {card['digest'][:12]} is of; make it again"
        )
    return card


def card_files(card: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of each file that a card describes, by its path inside the folder."""
    files: dict[str, str] = card.get("files") or {WEIGHTS: card["sha256"]}
    return files


def identity(card: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation says of the network that it measured."""
    figures = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**figures, "candidate": card["candidate"], "digest": card["digest"]}
    return {**figures, "sha256": card["sha256"]}


def require_made_of(artifact: Path, checkpoint: Path) -> None:
    """Raise an IntegrityError for a candidate that was not exported from this checkpoint."""
    made_of, present = read_card(artifact)["checkpoint_sha256"], read_card(checkpoint)["sha256"]
    if made_of != present:
        raise IntegrityError(
            f"{artifact} was made from the checkpoint {made_of[:12]}, but {checkpoint} holds {present[:12]}; "
            "make the artifact again (`dvc repro` of its export or quantize stage)"
        )
