"""Networks as after a training that nobody had to wait for, and what they answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Network
from alambique.tasks.yolo import network

SMALLEST = (0.50, 0.125, 1024)
"""A scale just wide enough to prune."""


def trained(architecture: Network, classes: list[str]) -> DetectionModel:
    """A network whose batch statistics, weights and biases are all different, as after training."""
    model = network.build(architecture, classes, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def outputs(model: DetectionModel) -> list[Tensor]:
    """The raw maps of each branch of the head, of two images that are always the same."""
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        heads: dict[str, Any] = model(x)[1]
    branches = [heads] if "boxes" in heads else [heads[name] for name in ("one2many", "one2one")]
    return [branch[part] for branch in branches for part in ("boxes", "scores")]
