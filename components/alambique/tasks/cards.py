"""The card in a checkpoint's or candidate's folder: what lies there, and whether it still does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alambique.config.params import Params
from alambique.errors import IntegrityError
from alambique.files import read_json, sha256
from alambique.layout import CARD, WEIGHTS, artifact_digest, teacher


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint or candidate, once every file it describes is what it says.

    Raises:
        IntegrityError: there is no card, or a file is missing, changed, or not on the card; the message names it.
    """
    if not (folder / CARD).is_file():
        raise IntegrityError(f"{folder} has no {CARD}: it is not a finished checkpoint or candidate; make it again")
    card: dict[str, Any] = read_json(folder / CARD)
    promised = card.get("files") or {WEIGHTS: card["sha256"]}
    for name, expected in sorted(promised.items()):
        path = folder / name
        found = sha256(path) if path.is_file() else "missing"
        if found != expected:
            raise IntegrityError(
                f"{path}: sha256 is {found[:12]}, but its card says {expected[:12]}; "
                "the file was changed after it was made: restore it (`dvc checkout`) or make it again"
            )
    if "runtime" in card and artifact_digest(folder) != card["digest"]:
        raise IntegrityError(
            f"{folder} holds other files than its card's digest {card['digest'][:12]} is of; make it again"
        )
    return card


def heard(project: Path, params: Params) -> list[str]:
    """sha256 of everyone whom a distilled student heard, in the order of params.yaml."""
    if params.distill.method == "none":
        return []
    return [read_card(project / teacher(name))["sha256"] for name in params.teachers]
