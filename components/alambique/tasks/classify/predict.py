"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.layout import WEIGHTS
from alambique.tasks.cards import read_card
from alambique.tasks.classify.preprocess import preprocess
from alambique.tasks.engines import ENGINES, Engine

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From one input, (1, 3, size, size), to the logits of the classes, (classes,)."""


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
        return open_artifact(folder / card["file"], card["runtime"], len(card["classes"]), threads)
    return _checked(_checkpoint(folder / WEIGHTS, threads), len(card["classes"]), folder)


def open_artifact(path: Path, runtime: str, classes: int, threads: int) -> Predictor:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Args:
        path: the file that the runtime opens.
        runtime: its name.
        classes: that it tells apart.
        threads: the engine computes with.
    Raises:
        DataError: the runtime is unknown here.
    """
    if runtime not in ENGINES:
        raise DataError(f"{path}: no engine for runtime {runtime!r}; known are {', '.join(ENGINES)}")
    return _checked(ENGINES[runtime](path, threads), classes, path)


def chances(predict: Predictor, images: Iterable[Path], image_size: int) -> NDArray[np.float64]:
    """The probabilities of the classes in each image, (n, classes); NaN where the network answers with no number."""
    logits = np.stack([predict(preprocess(image, image_size)) for image in images]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return found


def runner(folder: Path, threads: int) -> Callable[[], None]:
    """A candidate's inference on one image of noise, for `benchmark` to time."""
    predict, size = load(folder, threads), read_card(folder)["image_size"]
    noise = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)

    def run() -> None:
        predict(noise)

    return run


def _checkpoint(weights: Path, threads: int) -> Engine:
    import torch

    from alambique.tasks.classify import network

    torch.set_num_threads(threads)
    model = network.load(weights).model

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = model(torch.from_numpy(image)).numpy()
        return logits

    return predict


def _checked(predict: Engine, classes: int, source: Path) -> Predictor:
    def checked(image: NDArray[np.float32]) -> NDArray[np.float32]:
        output = predict(image)
        if output.shape != (1, classes):
            raise DataError(f"{source} gives {output.shape}, not the logits of {classes} classes; export it again")
        logits: NDArray[np.float32] = output[0]
        return logits

    return checked
