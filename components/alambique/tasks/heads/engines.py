"""All that a network with a head answers, on every runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.config.heads import Head
from alambique.errors import DataError
from alambique.layout import WEIGHTS
from alambique.tasks import engines
from alambique.tasks.cards import read_card
from alambique.tasks.engines import WholeEngine


def load(folder: Path, threads: int) -> WholeEngine:
    """A checkpoint or candidate, verified, loaded and ready.

    Args:
        folder: holds card.json and the files it names.
        threads: the engine computes with.
    Raises:
        IntegrityError: a file is not what the card says.
        DataError: the card's runtime is unknown here.
    """
    card = read_card(folder)
    if "runtime" not in card:
        return checkpoint(folder / WEIGHTS, card["task"], threads)
    return open_artifact(folder / card["file"], card["runtime"], threads)


def open_artifact(path: Path, runtime: str, threads: int) -> WholeEngine:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Raises:
        DataError: the runtime is unknown here.
    """
    if runtime not in ENGINES:
        raise DataError(f"{path}: no engine for runtime {runtime!r}; known are {', '.join(ENGINES)}")
    return ENGINES[runtime](path, threads)


def checkpoint(weights: Path, head: Head, threads: int) -> WholeEngine:
    """A student or teacher as it was trained."""
    import torch

    from alambique.tasks.detect import network

    torch.set_num_threads(threads)
    model = network.load(weights, head).eval()
    network.prefer_one_to_one(model)

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        output = model(torch.from_numpy(image))[0]  # the rest is what training would need
        return [each.numpy() for each in (output if isinstance(output, tuple) else (output,))]

    return predict


ENGINES: dict[str, Callable[[Path, int], WholeEngine]] = {
    "onnx": engines.whole_onnx,
    "openvino": engines.whole_openvino,
    "torchscript": engines.whole_torchscript,
}
"""What opens a runtime's file."""
