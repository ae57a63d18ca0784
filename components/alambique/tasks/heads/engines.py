"""The runtimes behind one signature, for networks with more than one output; see `tasks.detect.engines`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.config.heads import Head
from alambique.errors import DataError
from alambique.layout import WEIGHTS
from alambique.tasks.cards import read_card

Engine = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""From one input, (1, 3, size, size), to all outputs, in memory that the next call leaves alone."""


def load(folder: Path, threads: int) -> Engine:
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


def open_artifact(path: Path, runtime: str, threads: int) -> Engine:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Raises:
        DataError: the runtime is unknown here.
    """
    if runtime not in ENGINES:
        raise DataError(f"{path}: no engine for runtime {runtime!r}; known are {', '.join(ENGINES)}")
    return ENGINES[runtime](path, threads)


def checkpoint(weights: Path, head: Head, threads: int) -> Engine:
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


def onnx(model: Path, threads: int) -> Engine:
    """ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(None, {name: image})
        return outputs

    return predict


def openvino(model: Path, threads: int) -> Engine:
    """OpenVINO, on the CPU, set as for detectors."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def predict(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        # The request's outputs are its own memory, overwritten by the next inference.
        return [each.copy() for each in request.infer([image]).values()]

    return predict


def torchscript(program: Path, threads: int) -> Engine:
    """TorchScript's interpreter, on the CPU."""
    import torch

    torch.set_num_threads(threads)
    model = torch.jit.load(program, map_location="cpu")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        output = model(torch.from_numpy(image))
        return [each.numpy() for each in (output if isinstance(output, tuple) else (output,))]

    return predict


ENGINES: dict[str, Callable[[Path, int], Engine]] = {
    "onnx": onnx,
    "openvino": openvino,
    "torchscript": torchscript,
}
"""What opens a runtime's file."""
