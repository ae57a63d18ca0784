"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.tasks import engines
from alambique.tasks.cards import read_card
from alambique.tasks.engines import Engine


def load(folder: Path, threads: int) -> Engine:
    """A checkpoint or candidate, verified, loaded and ready: from tokens, (1, n), int64, to logits, (1, classes).

    Args:
        folder: holds card.json and the files it names.
        threads: the engine computes with.
    Raises:
        IntegrityError: a file is not what the card says.
        DataError: the card's runtime is unknown here.
    """
    card = read_card(folder)
    if "runtime" not in card:
        return _checkpoint(folder, threads)
    return open_artifact(folder / card["file"], card["runtime"], threads)


def open_artifact(path: Path, runtime: str, threads: int) -> Engine:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Raises:
        DataError: the runtime is unknown here.
    """
    known = {"onnx": engines.onnx, "openvino": engines.openvino, "torchscript": engines.torchscript}
    if runtime not in known:
        raise DataError(f"{path}: no engine for runtime {runtime!r}; known are {', '.join(known)}")
    return known[runtime](path, threads)


def runner(folder: Path, threads: int) -> Callable[[], None]:
    """A candidate's inference of a text of half the length it takes at most, for `benchmark` to time."""
    card, predict = read_card(folder), load(folder, threads)
    ids = np.random.default_rng(0).integers(card["vocabulary"], size=(1, card["max_tokens"] // 2))

    def run() -> None:
        predict(ids)

    return run


def _checkpoint(folder: Path, threads: int) -> Engine:
    import torch

    from alambique.tasks.text_classify import network

    torch.set_num_threads(threads)
    model, _ = network.load(folder)

    @torch.inference_mode()
    def predict(given: NDArray[np.int64]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network.logits(model, torch.from_numpy(given)).numpy()
        return logits

    return predict
