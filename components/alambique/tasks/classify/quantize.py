"""How a classifier becomes INT8: after training, by each runtime's own tool, and measured on val as it would ship."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from alambique.config.classify import Params
from alambique.errors import ConfigurationError, DataError
from alambique.evaluation.measures import Metrics
from alambique.files import sha256
from alambique.layout import DATA, Candidate
from alambique.tasks import ptq_onnx
from alambique.tasks.classify.card import write_candidate_card
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.export import FILES, OPSET, student, to_onnx
from alambique.tasks.classify.measuring import SPLIT
from alambique.tasks.classify.predict import chances, open_artifact
from alambique.tasks.classify.preprocess import preprocess
from alambique.tasks.openvino_models import save_openvino, to_openvino

OPERATORS = (*ptq_onnx.QUANTIZED, "Gemm", "MatMul", "GlobalAveragePool", "ReduceMean", "HardSigmoid", "HardSwish")
"""What is computed in INT8: the classes' scores, too, of which only the order and about the distance count."""

Inputs = list[NDArray[np.float32]]

logger = logging.getLogger(__name__)


def quantize(project: Path, params: Params, candidate: Candidate, target: Path) -> Metrics:
    """Quantize the pruned student for the candidate's runtime; see `alambique.tasks.Task.quantize`.

    Returns:
        size_bytes, parameters, macs, opset; method, fp32_top1, int8_top1, drop and max_drop on val, within_budget;
        calibration_images, calibration_digest.
    Raises:
        DataError: there is nothing to calibrate or to measure on.
        ConfigurationError: nothing makes INT8 for the runtime.
        IntegrityError: the checkpoint is not what its card says.
    """
    model, size = student(project, candidate.student)
    data, graph = Dataset.load(project / DATA), to_onnx(model, size)
    images = calibration_images(data, params.quantize.images, params.seed)
    path = target / FILES[candidate.runtime]
    write(candidate.runtime, graph, [preprocess(image, size) for image in images], path)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / FILES["onnx"]
        onnx.save(graph, exact)
        before = top1(exact, "onnx", data, size)
    after = top1(path, candidate.runtime, data, size)
    within = before - after <= params.quantize.max_drop
    if not within:
        logger.warning(
            "%s: top-1 on val is %.4f in INT8 and %.4f in FP32, and quantize.max_drop allows %.4f; the artifact is "
            "kept for the gates to judge",
            *(candidate.name, after, before, params.quantize.max_drop),
        )
    contents = "".join(f"{sha256(image)}\n" for image in images)
    return write_candidate_card(
        project,
        candidate,
        target,
        path.name,
        opset=OPSET,
        method="ptq",
        fp32_top1=before,
        int8_top1=after,
        drop=before - after,
        max_drop=params.quantize.max_drop,
        within_budget=within,
        calibration_images=len(images),
        calibration_digest=hashlib.sha256(contents.encode()).hexdigest(),
    )


def write(runtime: str, graph: onnx.ModelProto, inputs: Inputs, path: Path) -> None:
    """Write a runtime's INT8 file.

    Args:
        runtime: its name.
        graph: in FP32.
        inputs: to calibrate on, each (1, 3, size, size).
        path: the file that the runtime opens.
    Raises:
        ConfigurationError: nothing makes INT8 for the runtime.
    """
    match runtime:
        case "onnx":
            onnx.save(ptq_onnx.quantized(ptq_onnx.prepared(graph), inputs, operators=OPERATORS), path)
        case "openvino":
            import nncf

            nncf.set_log_level(logging.ERROR)
            made = nncf.quantize(
                to_openvino(graph),
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(inputs),
            )
            save_openvino(made, path)
        case _:
            raise ConfigurationError(f"int8: {runtime} has no quantizer here; take it out of `int8`")


def calibration_images(data: Dataset, count: int, seed: int) -> list[Path]:
    """Draw `count` training images, or all if there are fewer, of the classes in turn; equal seeds draw the same.

    Raises:
        DataError: train is empty.
    """
    found = data.images("train")
    if not found:
        raise DataError(f"{data.root} has no training images, and INT8 needs some to calibrate on; add some")
    shuffled = [found[index] for index in np.random.default_rng(seed).permutation(len(found))]
    turns: dict[int, int] = {}
    order = []
    for image in shuffled:
        label = data.label(image)
        turns[label] = turns.get(label, 0) + 1
        order.append((turns[label], label, image))
    return [image for *_, image in sorted(order, key=lambda each: each[:2])[:count]]


def top1(path: Path, runtime: str, data: Dataset, image_size: int) -> float:
    """An artifact's top-1 on val, on its own runtime.

    Raises:
        DataError: val is empty.
    """
    images = data.images(SPLIT)
    if not images:
        raise DataError(f"{data.root} has no {SPLIT} images; artifacts are measured there: add some")
    truth = np.array([data.label(image) for image in images])
    predict = open_artifact(path, runtime, len(data.classes), torch.get_num_threads())
    return float((chances(predict, images, image_size).argmax(axis=1) == truth).mean())
