"""Attention whose heads can be removed: Ultralytics' `Attention` with separate projections to query, key and value.

The stock module has one convolution for all three, head by head, and takes the number of channels that its heads put
out from its input. So a dependency graph can neither narrow its input alone nor its heads alone.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules import Conv
from ultralytics.nn.modules.block import Attention

from alambique.errors import DataError

PARTS = ("q", "k", "v")


class SplitAttention(nn.Module):
    """An `Attention` with the convolutions `q`, `k` and `v` in place of `qkv`; it computes the same.

    Attributes:
        heads: their number.
        key_dim, head_dim: channels of a head's keys, and of its values.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.key_dim, self.head_dim = attention.num_heads, attention.key_dim, attention.head_dim
        self.scale = attention.scale
        rows = torch.arange(attention.qkv.conv.out_channels).view(self.heads, -1)
        parts = torch.split(rows, [self.key_dim, self.key_dim, self.head_dim], 1)
        self.q, self.k, self.v = (take_outputs(attention.qkv, part.flatten()) for part in parts)
        self.proj, self.pe = deepcopy(attention.proj), deepcopy(attention.pe)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) → the same shape."""
        batch, _, height, width = x.shape
        q, k, v = self.q(x), self.k(x), self.v(x)
        queries, keys, values = (part.view(batch, self.heads, -1, height * width) for part in (q, k, v))
        weights = ((queries * self.scale).transpose(-2, -1) @ keys).softmax(-1)
        attended = (values @ weights.transpose(-2, -1)).reshape(batch, -1, height, width)
        return self.proj(attended + self.pe(v))  # type: ignore[no-any-return]

    def keep_heads(self, narrow: Attention) -> None:
        """Remove heads, and channels inside heads, in place, until they are as many as those of `narrow`.

        A value's channel matters by the scale that batch norm gives it times the norm of its weights in the projection
        that follows, a head as the sum over its values, and a channel of the keys by both its scales.

        Raises:
            DataError: `narrow` has more heads, or wider ones.
        """
        asked = (narrow.num_heads, narrow.head_dim, narrow.key_dim)
        if any(new > old for new, old in zip(asked, (self.heads, self.head_dim, self.key_dim), strict=True)):
            raise DataError(
                f"attention of {narrow.num_heads} heads of {narrow.head_dim} channels cannot be made of "
                f"{self.heads} of {self.head_dim}"
            )
        values = self._scales(self.v) * self.proj.conv.weight.detach().flatten(1).norm(dim=0).view(self.heads, -1)
        keys = self._scales(self.q) * self._scales(self.k)
        heads = _best(values.sum(1), narrow.num_heads)
        kept_values = _channels(values, heads, narrow.head_dim)
        kept_keys = _channels(keys, heads, narrow.key_dim)
        self.q, self.k = take_outputs(self.q, kept_keys), take_outputs(self.k, kept_keys)
        self.v, self.pe = take_outputs(self.v, kept_values), take_outputs(self.pe, kept_values)
        self.proj.conv.weight = nn.Parameter(self.proj.conv.weight.detach()[:, kept_values].clone())
        self.proj.conv.in_channels = len(kept_values)
        self.heads, self.head_dim = narrow.num_heads, narrow.head_dim
        # So that the products with the keys that stay weigh what they did: the stock module derives its scale.
        for tensor in (self.q.bn.weight, self.q.bn.bias):
            tensor.data *= self.scale / narrow.scale
        self.key_dim, self.scale = narrow.key_dim, narrow.scale

    def _scales(self, projection: Conv) -> Tensor:
        """Batch norm's scales of a projection, (heads, channels)."""
        scales: Tensor = projection.bn.weight.detach().abs()
        return scales.view(self.heads, -1)


def split_attention(model: nn.Module) -> None:
    """Rewrite every `Attention` in place; the network computes the same."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Attention):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, SplitAttention(module))


def join_attention(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network with `SplitAttention` as that of the stock `model`."""
    joined = dict(state)
    for name, module in model.named_modules():
        if not isinstance(module, Attention):
            continue
        for entry in module.qkv.state_dict():
            parts = [joined.pop(f"{name}.{part}.{entry}") for part in PARTS]
            whole = parts[0]
            if whole.ndim:
                by_head = [part.view(module.num_heads, -1, *part.shape[1:]) for part in parts]
                whole = torch.cat(by_head, 1).flatten(0, 1)
            joined[f"{name}.qkv.{entry}"] = whole
    return joined


def take_outputs(convolution: Conv, channels: Tensor) -> Any:
    """A copy of a convolution, depthwise or not, with some of its output channels."""
    taken: Any = deepcopy(convolution)
    depthwise = taken.conv.groups > 1
    taken.conv.out_channels = taken.bn.num_features = len(channels)
    if depthwise:
        taken.conv.in_channels = taken.conv.groups = len(channels)
    for owner in (taken.conv, taken.bn):
        for name, tensor in [*owner.named_parameters(), *owner.named_buffers()]:
            if tensor.ndim:
                part = tensor.data[channels].clone()
                setattr(owner, name, nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part)
    return taken


def _best(scores: Tensor, count: int) -> Tensor:
    """The places of the highest of `scores`, (n,), in order."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def _channels(scores: Tensor, heads: Tensor, count: int) -> Tensor:
    """The places of the `count` best channels in each of `heads`; scores are (heads, channels)."""
    return torch.cat([head * scores.shape[1] + _best(scores[head], count) for head in heads])
