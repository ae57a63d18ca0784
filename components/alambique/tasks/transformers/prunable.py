"""The transformers that can be pruned: where their layers are, what is cut of them, and how much each part matters.

Two architectures differ in the names of their projections, in what is counted, and in that a BERT keeps its heads: its
configuration derives their width from their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification, PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.transformers.export import require_llama

Batches = Iterable[tuple[dict[str, Any], Tensor]]
"""The model's arguments, and which tokens count, (batch, tokens)."""


class Architecture(NamedTuple):
    """How a kind of transformer is pruned.

    Attributes:
        layers: where they are in the model.
        heads_in, heads_out: projections of a layer to the heads' queries, keys and values, and from the heads.
        ffn_in, ffn_out: projections to and from the feed-forward's neurons.
        target: what a ratio is of.
        prunes_heads: whether a smaller width has fewer heads, too.
        step: neurons are kept in multiples of it; vector units work on so many at a time.
    """

    layers: str
    heads_in: tuple[str, str, str]
    heads_out: str
    ffn_in: tuple[str, ...]
    ffn_out: str
    target: Literal["parameters", "macs"]
    prunes_heads: bool
    step: int


LLAMA = Architecture(
    layers="model.layers",
    heads_in=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    heads_out="self_attn.o_proj",
    ffn_in=("mlp.gate_proj", "mlp.up_proj"),
    ffn_out="mlp.down_proj",
    target="parameters",
    prunes_heads=True,
    step=1,
)
BERT = Architecture(
    layers="bert.encoder.layer",
    heads_in=("attention.self.query", "attention.self.key", "attention.self.value"),
    heads_out="attention.output.dense",
    ffn_in=("intermediate.dense",),
    ffn_out="output.dense",
    target="macs",
    prunes_heads=False,
    step=8,
)


class Sizes(NamedTuple):
    """Layers, groups of heads that share a key, feed-forward neurons."""

    layers: int
    groups: int
    ffn: int


def architecture_of(model: PreTrainedModel) -> Architecture:
    """How a model is pruned; a ConfigurationError if it is neither built as a Llama nor a BERT."""
    if isinstance(model, BertForSequenceClassification):
        return BERT
    if hasattr(model, "classifier"):
        raise ConfigurationError(
            f"prune: {type(model).__name__} cannot be pruned here, only a BERT can; set prune.ratio to 0"
        )
    require_llama(model, "pruned")
    return LLAMA


def sizes(model: PreTrainedModel) -> Sizes:
    """Those of a model."""
    config: Any = model.config
    groups = getattr(config, "num_key_value_heads", config.num_attention_heads)
    return Sizes(config.num_hidden_layers, groups, config.intermediate_size)


def layers_of(model: PreTrainedModel) -> list[Any]:
    """The layers' modules."""
    return list(model.get_submodule(architecture_of(model).layers).children())


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
def measure_importance(model: PreTrainedModel, batches: Batches) -> Importance:
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
