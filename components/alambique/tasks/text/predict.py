"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.tasks.cards import read_card

Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]
Predictor = Callable[[Tokens], Floats]
"""From a text's tokens, (n,), to the logits of what follows each, (n, vocabulary)."""


class Decoder(NamedTuple):
    """An artifact, ready.

    Attributes:
        step: from tokens, (1, n), and the keys and values of those before to logits, (1, n, vocabulary), and the keys
            and values of all.
        past: their shape, (layers, heads, width), without the tokens.
    """

    step: Callable[[Tokens, Floats, Floats], tuple[Floats, Floats, Floats]]
    past: tuple[int, int, int]

    def nothing(self) -> tuple[Floats, Floats]:
        """Keys and values before the first token."""
        layers, heads, width = self.past
        empty = np.zeros((layers, heads, 0, width), np.float32)
        return empty, empty


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
    if "runtime" not in card:
        return _checkpoint(folder, card["vocabulary"], threads)
    return on_texts(open_candidate(folder, threads))


def on_texts(decoder: Decoder) -> Predictor:
    """An artifact that reads each text from its beginning."""
    return lambda ids: decoder.step(ids[None], *decoder.nothing())[0][0]


def open_candidate(folder: Path, threads: int) -> Decoder:
    """A candidate on its own runtime; see `load`."""
    card = read_card(folder)
    if "runtime" not in card:
        raise DataError(f"{folder} is a checkpoint, not an exported candidate; give a folder below candidates/")
    layers, heads, _, width = card["input"]["past_keys"]["shape"]
    return open_artifact(folder / card["file"], card["runtime"], threads, (layers, heads, width))


def open_artifact(path: Path, runtime: str, threads: int, past: tuple[int, int, int]) -> Decoder:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Raises:
        DataError: the runtime is unknown here.
    """
    match runtime:
        case "onnx":
            return Decoder(_onnx(path, threads), past)
        case "openvino":
            return Decoder(_openvino(path, threads), past)
    raise DataError(f"{path}: no engine for runtime {runtime!r}; known are onnx and openvino")


def runner(folder: Path, threads: int) -> Callable[[], None]:
    """A candidate's inference of one token after half a text of noise, for `benchmark` to time."""
    card, decoder = read_card(folder), open_candidate(folder, threads)
    chance = np.random.default_rng(0)
    layers, heads, width = decoder.past
    past = chance.standard_normal((2, layers, heads, card["max_tokens"] // 2, width), dtype=np.float32)
    token = np.array([[card["vocabulary"] // 2]])

    def run() -> None:
        decoder.step(token, past[0], past[1])

    return run


def _checkpoint(folder: Path, vocabulary: int, threads: int) -> Predictor:
    import torch

    from alambique.tasks.text import network

    torch.set_num_threads(threads)
    model, _ = network.load(folder)

    @torch.inference_mode()
    def predict(ids: Tokens) -> Floats:
        logits: Floats = network.logits(model, torch.from_numpy(ids)[None], vocabulary)[0].numpy()
        return logits

    return predict


def _onnx(path: Path, threads: int) -> Callable[[Tokens, Floats, Floats], tuple[Floats, Floats, Floats]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def step(ids: Tokens, keys: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
        logits, keys, values = session.run(None, {"ids": ids, "past_keys": keys, "past_values": values})
        return logits, keys, values

    return step


def _openvino(path: Path, threads: int) -> Callable[[Tokens, Floats, Floats], tuple[Floats, Floats, Floats]]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(path, "CPU", settings)

    def step(ids: Tokens, keys: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
        found = model([ids, keys, values])
        logits, keys, values = (np.array(found[number]) for number in range(3))  # the next call overwrites its own
        return logits, keys, values

    return step
