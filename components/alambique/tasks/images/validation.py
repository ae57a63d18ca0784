"""Accuracy on val of a torch module while it is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.preprocess import square
from alambique.tasks.training_loop import Measure

BATCH = 64


def measure_on_val(dataset: Dataset, image_size: int) -> Measure:
    """What measures a torch module on val: top1, then nll, the mean negative log-likelihood, nats.

    Args:
        image_size: side of the input, pixels.
    Raises:
        DataError: val is empty, or an image of it is broken or in the folder of no class.
    """
    images = dataset.require("val")
    labels = torch.tensor([dataset.label(image) for image in images])
    pixels = torch.from_numpy(np.stack([square(image, image_size).transpose(2, 0, 1) for image in images]))

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
