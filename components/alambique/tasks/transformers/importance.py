"""Which parts of a transformer matter on some texts: heads, feed-forward neurons, layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alambique.tasks.transformers.prunable import architecture_of, layers_of, sizes

Batches = Iterable[tuple[dict[str, Any], Tensor]]
"""The model's arguments, and which tokens count, (batch, tokens)."""


class Importance(NamedTuple):
    """Mean change, per token, that removing each part would make.

    Attributes:
        groups: of each layer's attention heads that share a key, (layers, groups).
        neurons: of each layer's feed-forward, (layers, ffn).
        layers: how far each turns its input: 1 − cosine, (layers,); block influence (Men et al. 2024, ShortGPT).
    """

    groups: Tensor
    neurons: Tensor
    layers: Tensor


@torch.inference_mode()
def measure(model: PreTrainedModel, batches: Batches) -> Importance:
    """Run a model in evaluation mode over some texts.

    What a head or neuron adds to the residual stream is its activation times its column of the projection that follows;
    the mean square stands for what its removal changes.
    """
    architecture, layers = architecture_of(model), layers_of(model)
    heads_out = [layer.get_submodule(architecture.heads_out) for layer in layers]
    ffn_out = [layer.get_submodule(architecture.ffn_out) for layer in layers]
    heads = [torch.zeros(projection.in_features) for projection in heads_out]
    neurons = [torch.zeros(projection.in_features) for projection in ffn_out]
    turned = torch.zeros(len(layers))
    mask, tokens = torch.ones(0, dtype=torch.bool), 0

    def sum_squares(total: Tensor) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            total.add_(inputs[0][mask].square().sum(0))

        return hook

    def sum_turns(number: int) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            after = output[0] if isinstance(output, tuple) else output
            turned[number] += (1 - nn.functional.cosine_similarity(inputs[0], after, dim=-1))[mask].sum()

        return hook

    handles = [
        handle
        for number, layer in enumerate(layers)
        for handle in (
            heads_out[number].register_forward_pre_hook(sum_squares(heads[number])),
            ffn_out[number].register_forward_pre_hook(sum_squares(neurons[number])),
            layer.register_forward_hook(sum_turns(number)),
        )
    ]
    try:
        for arguments, counted in batches:
            mask = counted
            tokens += int(mask.sum())
            model(**arguments)
    finally:
        for handle in handles:
            handle.remove()
    by_head = _changes(heads, heads_out).reshape(len(layers), sizes(model).groups, -1).sum(2)
    by_neuron = _changes(neurons, ffn_out)
    return Importance(*(changes / max(tokens, 1) for changes in (by_head, by_neuron, turned)))


def _changes(squares: list[Tensor], projections: list[Any]) -> Tensor:
    """Of each input of each layer's projection, from the sums of their squares, (layers, inputs)."""
    pairs = zip(squares, projections, strict=True)
    return torch.stack([total * projection.weight.square().sum(0) for total, projection in pairs])
