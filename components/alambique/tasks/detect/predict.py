"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime.

A network of any family gives its final boxes on each of them, so nothing but the engine differs between two subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.layout import WEIGHTS
from alambique.tasks.cards import read_card
from alambique.tasks.detect.engines import ENGINES, checkpoint
from alambique.tasks.engines import Engine

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From one input, (1, 3, size, size), to its boxes, (n, 6): x1, y1, x2, y2 in input pixels, score, class index."""


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


def runner(folder: Path, threads: int) -> Callable[[], None]:
    """A candidate's inference on one image of noise, for `benchmark` to time.

    Args:
        folder: of the candidate.
        threads: the engine computes with.
    """
    return on_noise(load(folder, threads), read_card(folder)["image_size"])


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
