"""One inference for everything that is measured: a checkpoint on PyTorch, a candidate on its own runtime.

An NMS-free YOLO26 gives its final boxes on each of them, so nothing but the engine differs between two subjects.
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
    return _checked(_torch(folder / WEIGHTS, threads), folder)


def open_artifact(path: Path, runtime: str, threads: int) -> Predictor:
    """An artifact on its own runtime, ready, whether or not there is a card yet.

    Args:
        path: the file that the runtime opens.
        runtime: its name.
        threads: the engine computes with.
    Raises:
        DataError: the runtime is unknown here.
    """
    match runtime:
        case "onnx":
            predict = _onnx(path, threads)
        case "openvino":
            predict = _openvino(path, threads)
        case other:
            raise DataError(f"{path}: no engine for runtime {other!r}; known are onnx and openvino")
    return _checked(predict, path)


def runner(folder: Path, image_size: int, threads: int) -> Callable[[], None]:
    """A candidate's inference on one image of noise, for `benchmark` to time.

    Args:
        folder: of the candidate.
        image_size: side of the input, pixels.
        threads: the engine computes with.
    """
    predict = load(folder, threads)
    noise = np.random.default_rng(0).random((1, 3, image_size, image_size), dtype=np.float32)

    def run() -> None:
        predict(noise)

    return run


def _checked(predict: Predictor, source: Path) -> Predictor:
    def checked(image: NDArray[np.float32]) -> NDArray[np.float32]:
        output = predict(image)
        if output.ndim != 3 or output.shape[0] != 1 or output.shape[2] != 6:
            raise DataError(f"{source} gives {output.shape}, not final boxes (1, n, 6): export an end-to-end network")
        boxes: NDArray[np.float32] = output[0]
        return boxes

    return checked


def _torch(weights: Path, threads: int) -> Predictor:
    import torch

    from alambique.tasks.detect import network

    torch.set_num_threads(threads)
    model = network.load(weights)
    model.end2end = True  # a YOLO26 as loaded answers with its other head, the one that needs suppression

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        output = model(torch.from_numpy(image))
        # Outside an export the head also returns what training would need.
        boxes: NDArray[np.float32] = (output[0] if isinstance(output, tuple) else output).numpy()
        return boxes

    return predict


def _onnx(model: Path, threads: int) -> Predictor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        boxes: NDArray[np.float32] = session.run(None, {name: image})[0]
        return boxes

    return predict


def _openvino(model: Path, threads: int) -> Predictor:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # Left to itself, OpenVINO computes in bfloat16 where the CPU can: FP32 would not be FP32 on every machine.
        "INFERENCE_PRECISION_HINT": "f32",
        # A pinned thread cannot leave a core that something else keeps busy; no other engine here is pinned.
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        # The request's output is its own memory, overwritten by the next inference.
        boxes: NDArray[np.float32] = request.infer([image])[0].copy()
        return boxes

    return predict
