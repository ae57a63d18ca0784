"""Accuracy on val: of a torch module while it is trained, and of the programs that quantization makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alambique.errors import DataError
from alambique.runtimes.base import Program, Validation
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import planes, square
from alambique.tasks.training_loop import Measure

SPLIT = "val"
BATCH = 64


class Sample(NamedTuple):
    """A labelled image: a byte a colour, (size, size, 3), and its class index."""

    pixels: NDArray[np.uint8]
    label: int


def read_val(dataset: Dataset, image_size: int) -> list[Sample]:
    """The images of val, read and scaled once.

    Args:
        image_size: side of the input, pixels.
    Raises:
        DataError: val is empty, or an image of it is broken or in the folder of no class.
    """
    images = dataset.images(SPLIT)
    if not images:
        raise DataError(f"{dataset.root} has no {SPLIT} images; networks are measured on them: add some")
    return [Sample(square(image, image_size), dataset.label(image)) for image in images]


def measure_on_val(dataset: Dataset, image_size: int) -> Measure:
    """What measures a torch module on val: top1, then nll, the mean negative log-likelihood, nats.

    Args:
        image_size: side of the input, pixels.
    Raises:
        DataError: see `read_val`.
    """
    samples = read_val(dataset, image_size)
    labels = torch.tensor([sample.label for sample in samples])
    pixels = torch.from_numpy(np.stack([sample.pixels.transpose(2, 0, 1) for sample in samples]))

    @torch.inference_mode()
    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        batches = (pixels[start : start + BATCH].to(device) for start in range(0, len(pixels), BATCH))
        logits = torch.cat([model(batch.float() / 255).float().cpu() for batch in batches])
        return {
            "top1": float((logits.argmax(1) == labels).double().mean()),
            "nll": float(nn.functional.cross_entropy(logits, labels)),
        }

    return measure


def validation(dataset: Dataset, image_size: int) -> Validation:
    """What measures a program on val: top-1, and whether each image was right; not where a logit is not finite.

    Args:
        image_size: side of the input, pixels.
    Raises:
        DataError: see `read_val`.
    """

    def score(program: Program, samples: Iterable[Sample]) -> tuple[float, list[float]]:
        correct = []
        for pixels, label in samples:
            logits = program(planes(pixels)[None])[0][0]
            correct.append(float(np.isfinite(logits).all() and logits.argmax() == label))
        return float(np.mean(correct)), correct

    return Validation(read_val(dataset, image_size), score)
