"""How well a network tells the classes of val apart while it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alambique.errors import DataError
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.preprocess import preprocess
from alambique.tasks.training_loop import Measure

SPLIT = "val"
BATCH = 64


def on_val(data: Dataset, image_size: int) -> Measure:
    """What measures a network in training on val: top-1, then the negative log-likelihood, nats.

    Args:
        image_size: side of the input, pixels.
    Raises:
        DataError: val is empty, or an image of it is broken or in the folder of no class.
    """
    images = data.images(SPLIT)
    if not images:
        raise DataError(f"{data.root} has no {SPLIT} images; networks are measured on them: add some")
    truth = torch.tensor([data.label(image) for image in images])
    # A byte a colour, as they were read.
    pixels = torch.from_numpy(np.concatenate([_bytes(image, image_size) for image in images]))

    @torch.inference_mode()
    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        found: list[Tensor] = []
        for start in range(0, len(pixels), BATCH):
            found.append(model(pixels[start : start + BATCH].to(device).float() / 255).float().cpu())
        logits = torch.cat(found)
        return {
            "top1": float((logits.argmax(1) == truth).double().mean()),
            "nll": float(nn.functional.cross_entropy(logits, truth)),
        }

    return measure


def _bytes(image: Path, image_size: int) -> NDArray[np.uint8]:
    return np.rint(preprocess(image, image_size) * 255).astype(np.uint8)
