"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime.

A network of any family gives its final boxes on each of them, so nothing but the engine differs between two subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError, IntegrityError
from alambique.files import read_json, sha256
from alambique.layout import CARD, WEIGHTS, artifact_digest
from alambique.tasks.detect.engines import ENGINES, Engine, checkpoint

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From one input, (1, 3, size, size), to its boxes, (n, 6): x1, y1, x2, y2 in input pixels, score, class index."""


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a checkpoint or candidate, once every file it describes is what it says.

    Raises:
        IntegrityError: there is no card, or a file is missing, changed, or not on the card; the message names it.
    """
    if not (folder / CARD).is_file():
        raise IntegrityError(f"{folder} has no {CARD}: it is not a finished checkpoint or candidate; make it again")
    card: dict[str, Any] = read_json(folder / CARD)
    promised = card["files"] if "runtime" in card else {WEIGHTS: card["sha256"]}
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


def load(folder: Path, threads: int) -> Predictor:
    """A checkpoint or candidate, verified, loaded and ready.

    Args:
        folder: holds card.json and the files it names.
        threads: the engine computes with.
    Raises:
        IntegrityError: a file is not what the card says.
        DataError: the card's runtime is unknown here.
    """
    card = read_card(folder)
    if "runtime" in card:
        return open_artifact(folder / card["file"], card["runtime"], threads)
    return _checked(checkpoint(folder / WEIGHTS, threads), folder)


def open_artifact(path: Path, runtime: str, threads: int) -> Predictor:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Args:
        path: the file that the runtime opens.
        runtime: its name.
        threads: the engine computes with.
    Raises:
        DataError: the runtime is unknown here.
    """
    if runtime not in ENGINES:
        raise DataError(f"{path}: no engine for runtime {runtime!r}; known are {', '.join(ENGINES)}")
    return _checked(ENGINES[runtime](path, threads), path)


def runner(folder: Path, image_size: int, threads: int) -> Callable[[], None]:
    """A candidate's inference on one image of noise, for `benchmark` to time.

    Args:
        folder: of the candidate.
        image_size: side of the input, pixels.
        threads: the engine computes with.
    """
    return on_noise(load(folder, threads), image_size)


def on_noise(predict: Predictor, image_size: int) -> Callable[[], None]:
    """One inference on an image of noise, always the same."""
    noise = np.random.default_rng(0).random((1, 3, image_size, image_size), dtype=np.float32)

    def run() -> None:
        predict(noise)

    return run


def _checked(predict: Engine, source: Path) -> Predictor:
    def checked(image: NDArray[np.float32]) -> NDArray[np.float32]:
        output = predict(image)
        if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != 6:
            raise DataError(f"{source} gives {output.shape}, not final boxes (1, n, 6): export an end-to-end network")
        boxes: NDArray[np.float32] = output[0]
        return boxes

    return checked
