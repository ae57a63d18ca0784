"""How a network is quantized to INT8 for each runtime, and on which images its ranges are measured."""

from __future__ import annotations

from typing import Any

from alambique.runtimes.base import Quantization, StaticInt8, WeightOnly
from alambique.tasks.base import Calibration
from alambique.tasks.yolo.calibration import calibration_images, describe
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.float_nodes import float_nodes
from alambique.tasks.yolo.preprocess import preprocess

OPERATORS = ("Add", "Concat", "Conv", "MaxPool", "Mul", "Resize", "Sigmoid", "Split")
"""What ONNX Runtime computes in INT8. With the convolutions alone, every activation would be turned to float and back:
no faster than FP32."""


def calibration(dataset: YoloDataset, image_size: int, images: int, seed: int) -> Calibration:
    """Training images as a network takes them; see `calibration.calibration_images`."""
    drawn = calibration_images(dataset, images, seed)
    return Calibration([preprocess(image, image_size)[0] for image in drawn], describe(dataset, drawn))


def quantization(runtime: str, inputs: list[Any]) -> Quantization:
    """Static where the runtime computes in INT8; of the weights alone for MNN, which computes in FP32."""
    if runtime == "mnn":
        return WeightOnly(8)
    return StaticInt8(inputs, OPERATORS, float_nodes)
