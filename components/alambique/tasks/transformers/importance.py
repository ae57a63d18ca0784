"""Which parts of a transformer matter on some texts: heads, feed-forward neurons, layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

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


class Layer(NamedTuple):
    """A layer's modules.

    Attributes:
        whole: the layer.
        attention_output: projection of the joined heads.
        ffn_output: projection of the feed-forward's neurons.
    """

    whole: nn.Module
    attention_output: nn.Linear
    ffn_output: nn.Linear


@torch.inference_mode()
def measure(model: PreTrainedModel, layers: list[Layer], groups: int, batches: Batches) -> Importance:
    """Run the model over some texts.

    What a head or neuron adds to the residual stream is its activation times its column of the projection that follows;
    the mean square stands for what its removal changes.

    Args:
        model: in evaluation mode.
        layers: its own.
        groups: of a layer's heads.
        batches: of texts.
    """
    heads = [torch.zeros(layer.attention_output.in_features) for layer in layers]
    neurons = [torch.zeros(layer.ffn_output.in_features) for layer in layers]
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
            layer.attention_output.register_forward_pre_hook(sum_squares(heads[number])),
            layer.ffn_output.register_forward_pre_hook(sum_squares(neurons[number])),
            layer.whole.register_forward_hook(sum_turns(number)),
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
    by_head = [_changes(total, layer.attention_output) for total, layer in zip(heads, layers, strict=True)]
    by_neuron = [_changes(total, layer.ffn_output) for total, layer in zip(neurons, layers, strict=True)]
    return Importance(
        torch.stack([changes.reshape(groups, -1).sum(1) for changes in by_head]) / max(tokens, 1),
        torch.stack(by_neuron) / max(tokens, 1),
        turned / max(tokens, 1),
    )


def _changes(squares: Tensor, projection: nn.Linear) -> Tensor:
    """Of each input of a projection, from the sum of its squares."""
    return squares * projection.weight.square().sum(0)
