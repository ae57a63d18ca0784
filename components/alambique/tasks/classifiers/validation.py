"""A classifier on val: what decides when its training stops, and the temperature that makes its scores probabilities.

Temperature scaling: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. A network that was trained
on soft labels or for long is more, or less, sure than it is right; dividing its logits by one number mends that and
changes no prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from alambique.errors import IntegrityError

HIGHEST = 20.0
"""The highest temperature; the lowest is its inverse."""


class Val(NamedTuple):
    """A labelled split, ready to be measured many times.

    Attributes:
        labels: class indices, (n,).
        log_probabilities: of a network in evaluation mode, (n, classes), nats, on the CPU.
    """

    labels: Tensor
    log_probabilities: Callable[[nn.Module], Tensor]

    @torch.inference_mode()
    def measure(self, model: nn.Module) -> dict[str, float]:
        """Top1, then nll, the mean negative log-likelihood, nats."""
        predicted = self.log_probabilities(model)
        return {
            "top1": float((predicted.argmax(1) == self.labels).double().mean()),
            "nll": float(nn.functional.nll_loss(predicted, self.labels)),
        }

    @torch.inference_mode()
    def scale(self, model: nn.Module) -> float:
        """Divide the weights and bias of a network's last layer by `best_temperature`, which is returned.

        Raises:
            IntegrityError: the layer that was scaled does not put out the logits.
        """
        predicted = self.log_probabilities(model)
        temperature = best_temperature(predicted, self.labels)
        name = logits_layer(model, predicted.shape[1])
        for parameter in model.get_submodule(name).parameters(recurse=False):
            parameter.div_(temperature)
        if not torch.allclose(self.log_probabilities(model), (predicted / temperature).log_softmax(1), atol=1e-2):
            raise IntegrityError(f"the logits of {type(model).__name__} are not those of its layer {name}")
        return temperature


def best_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature at which the mean negative log-likelihood is least.

    One more sample, which belongs to each class equally, counts along, as in Platt 1999, Probabilistic Outputs for
    Support Vector Machines, section 2.2: where every sample is right, the best temperature would be 0.

    Args:
        log_probabilities: at temperature 1, (n, classes), nats, n > 0.
        labels: class indices, (n,).
    """
    logits = log_probabilities.double()

    def loss(log_temperature: float) -> float:
        scaled = (logits / math.exp(log_temperature)).log_softmax(1)
        return float(nn.functional.nll_loss(scaled, labels, reduction="sum") - scaled.mean())

    limit = math.log(HIGHEST)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def logits_layer(model: nn.Module, classes: int) -> str:
    """Name of the layer of a network for so many classes that puts out the logits; empty if none is so wide."""
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    named = [name for name, layer in layers if layer.weight.shape[0] == classes]
    return named[-1] if named else ""
