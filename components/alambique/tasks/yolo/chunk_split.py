"""Blocks of Ultralytics whose channels a dependency graph can follow.

Blocks which split a convolution's output with `chunk` hide from such a graph which channels belong together. For the
time of pruning each such convolution stands as two, one for each half, which computes exactly the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2PSA, C2f, Conv
from ultralytics.nn.tasks import DetectionModel


class SplitBlock(nn.Module):
    """A C2f, C3k2 or C2PSA whose `cv1` is a list of two convolutions, one for each half of its output."""

    def __init__(self, block: C2f | C2PSA) -> None:
        super().__init__()
        self.cv1 = nn.ModuleList(_half(block.cv1, index) for index in (0, 1))
        self.cv2, self.m = block.cv2, block.m
        self.chained = isinstance(block, C2f)
        self.f, self.i = block.f, block.i  # where it sits in the network

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels in, height, width) → (batch, channels out, height, width)."""
        outputs = [half(x) for half in self.cv1]
        if self.chained:
            for inner in self.m:
                outputs.append(inner(outputs[-1]))
        else:
            outputs[1] = self.m(outputs[1])
        return self.cv2(torch.cat(outputs, 1))  # type: ignore[no-any-return]


def split(model: DetectionModel) -> DetectionModel:
    """A copy of `model` with every splitting block rewritten; its outputs are the same."""
    model = deepcopy(model)
    for index, layer in enumerate(model.model):
        if isinstance(layer, C2f | C2PSA):
            model.model[index] = SplitBlock(layer)
    return model


def join(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a split model as that of the stock one: both halves of each `cv1` in one tensor."""
    joined = {}
    for name, tensor in state.items():
        if ".cv1.0." in name:
            other = state[name.replace(".cv1.0.", ".cv1.1.")]
            joined[name.replace(".cv1.0.", ".cv1.")] = torch.cat((tensor, other)) if tensor.ndim else tensor
        elif ".cv1.1." not in name:
            joined[name] = tensor
    return joined


def split_state(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The state of a stock model as that of a split one, whose blocks tell which tensors to halve."""
    blocks = tuple(f"{name}.cv1." for name, module in model.named_modules() if isinstance(module, SplitBlock))
    halved = {}
    for name, tensor in state.items():
        if not name.startswith(blocks):
            halved[name] = tensor
            continue
        block, _, rest = name.partition(".cv1.")
        for half, part in enumerate(tensor.chunk(2) if tensor.ndim else (tensor, tensor)):
            halved[f"{block}.cv1.{half}.{rest}"] = part
    return halved


def _half(convolution: Conv, index: int) -> Conv:
    half = deepcopy(convolution)
    channels = convolution.conv.out_channels // 2
    half.conv.out_channels = half.bn.num_features = channels
    for owner in (half.conv, half.bn):
        for name, tensor in [*owner.named_parameters(), *owner.named_buffers()]:
            if tensor.ndim:
                part = tensor.data[index * channels : (index + 1) * channels].clone()
                setattr(owner, name, nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part)
    return half
