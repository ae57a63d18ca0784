"""The transformers that can be pruned: where their layers are, what is cut of them, and how much each part matters.

Two architectures differ in the names of their projections, in what is counted, and in that a BERT keeps its heads: its
configuration derives their width from their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        norms: modules whose output is what the layers read of the residual stream, by the ends of their names.
        pooler: projection of the residual stream, outside the layers, whose outputs only `head` reads; None if none.
        head: projection to the model's outputs.
        rotary: whether positions turn the queries and keys, whose width then cannot change.
        target: what a ratio is of.
        prunes_heads: whether a smaller width has fewer heads, too.
        step: neurons are kept in multiples of it; vector units work on so many at a time.
    """

    layers: str
    heads_in: tuple[str, str, str]
    heads_out: str
    ffn_in: tuple[str, ...]
    ffn_out: str
    norms: tuple[str, ...]
    pooler: str | None
    head: str
    rotary: bool
    target: Literal["parameters", "macs"]
    prunes_heads: bool
    step: int


LLAMA = Architecture(
    layers="model.layers",
    heads_in=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    heads_out="self_attn.o_proj",
    ffn_in=("mlp.gate_proj", "mlp.up_proj"),
    ffn_out="mlp.down_proj",
    norms=("norm",),
    pooler=None,
    head="lm_head",
    rotary=True,
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
    norms=("LayerNorm",),
    pooler="bert.pooler.dense",
    head="classifier",
    rotary=False,
    target="macs",
    prunes_heads=False,
    step=8,
)


class Sizes(NamedTuple):
    """Sizes of a transformer.

    Attributes:
        layers, ffn, hidden: layers, feed-forward neurons of each, and width of the residual stream.
        groups: groups of heads that share a key, in each layer.
        group_heads: heads in each group.
        width: of a head.
    """

    layers: int
    groups: int
    ffn: int
    hidden: int
    group_heads: int
    width: int


def architecture_of(
    model: PreTrainedModel, what: str = "pruned", instead: str = "set prune.ratio to 0"
) -> Architecture:
    """How a model is pruned.

    Args:
        what: is to be done with it, for the error.
        instead: what can be done if that is impossible.
    Raises:
        ConfigurationError: it is neither built as a Llama nor a BERT.
    """
    if isinstance(model, BertForSequenceClassification):
        return BERT
    if hasattr(model, "classifier"):
        raise ConfigurationError(f"a {type(model).__name__} cannot be {what} here, only a BERT can; {instead}")
    require_llama(model, what)
    return LLAMA


def sizes(model: PreTrainedModel) -> Sizes:
    """Those of a model."""
    config: Any = model.config
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    inner = layers_of(model)[0].get_submodule(architecture_of(model).heads_out).in_features
    return Sizes(
        config.num_hidden_layers, groups, config.intermediate_size, config.hidden_size, heads // groups, inner // heads
    )


def layers_of(model: PreTrainedModel) -> list[Any]:
    """The layers' modules."""
    return list(model.get_submodule(architecture_of(model).layers).children())


class Importance(NamedTuple):
    """Mean change, per token, that removing each part would make.

    Attributes:
        values: of each channel of each layer's heads, in their values, (layers, heads, width).
        keys: of the same channels in their queries and keys, (layers, heads, width); None with rotary positions.
        neurons: of each layer's feed-forward, (layers, ffn).
        layers: how far each turns its input: 1 − cosine, (layers,); block influence (Men et al. 2024, ShortGPT).
        hidden: of the residual stream, (hidden,): mean square of what the layers read of it, over all of them, as of
            embedding channels in Muralidharan et al. 2024, Minitron, §2.2.
        pooled: of what a head of classes reads, (hidden,); None without a pooler.
        normed: mean square of each channel of what each norm is given, by the norm's name, (hidden,).
    """

    values: Tensor
    keys: Tensor | None
    neurons: Tensor
    layers: Tensor
    hidden: Tensor
    pooled: Tensor | None
    normed: dict[str, Tensor]


@torch.inference_mode()
def measure_importance(model: PreTrainedModel, batches: Batches) -> Importance:
    """Run a model in evaluation mode over some texts.

    What a head or neuron adds to the residual stream is its activation times its column of the projection that follows;
    the mean square stands for what its removal changes.
    """
    architecture, layers, size = architecture_of(model), layers_of(model), sizes(model)
    heads_out = [layer.get_submodule(architecture.heads_out) for layer in layers]
    ffn_out = [layer.get_submodule(architecture.ffn_out) for layer in layers]
    projected = [] if architecture.rotary else [map(layer.get_submodule, architecture.heads_in[:2]) for layer in layers]
    scores = [tuple(pair) for pair in projected]
    norms = {name: module for name, module in model.named_modules() if name.endswith(architecture.norms)}
    head = [model.get_submodule(architecture.head)] if architecture.pooler else []
    activations = _Activations(
        [*heads_out, *ffn_out, *head, *norms.values()], [*norms.values(), *sum(scores, ())], layers
    )
    activations.run(model, batches)
    squares, outputs = activations.squares, activations.output_squares
    by_head = (size.layers, size.groups * size.group_heads, size.width)
    return Importance(
        values=_changes(squares, heads_out).reshape(by_head),
        keys=torch.stack([outputs[query] * outputs[key] for query, key in scores]).reshape(by_head) if scores else None,
        neurons=_changes(squares, ffn_out),
        layers=torch.stack([activations.turns[layer] for layer in layers]),
        hidden=torch.stack([outputs[norm] for norm in norms.values()]).mean(0),
        pooled=_changes(squares, head)[0] if head else None,
        normed={name: squares[norm] for name, norm in norms.items()},
    )


class _Activations:
    """Means over the tokens of some batches.

    Args:
        inputs: modules of whose inputs the mean square of each channel is taken, into `squares`.
        outputs: of whose outputs it is, into `output_squares`.
        layers: of which 1 − cosine between input and output is, into `turns`.
    """

    def __init__(self, inputs: Sequence[nn.Module], outputs: Sequence[nn.Module], layers: Sequence[nn.Module]) -> None:
        self.squares: dict[nn.Module, Tensor] = {}
        self.output_squares: dict[nn.Module, Tensor] = {}
        self.turns: dict[nn.Module, Tensor] = {}
        self.mask = torch.ones(0, dtype=torch.bool)
        self.handles = [
            *(module.register_forward_pre_hook(self._input) for module in inputs),
            *(module.register_forward_hook(self._output) for module in outputs),
            *(module.register_forward_hook(self._turn) for module in layers),
        ]

    def run(self, model: PreTrainedModel, batches: Batches) -> None:
        """Run the model; the hooks are gone afterwards."""
        tokens = 0
        try:
            for arguments, self.mask in batches:
                tokens += int(self.mask.sum())
                model(**arguments)
        finally:
            for handle in self.handles:
                handle.remove()
        for sums in (self.squares, self.output_squares, self.turns):
            for module in sums:
                sums[module] = sums[module] / max(tokens, 1)

    def _input(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._add(self.squares, module, self._counted(inputs[0]).square().sum(0))

    def _output(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._add(self.output_squares, module, self._counted(output).square().sum(0))

    def _turn(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        after = output[0] if isinstance(output, tuple) else output
        turned = 1 - nn.functional.cosine_similarity(inputs[0], after, dim=-1)
        self._add(self.turns, module, turned[self.mask].sum())

    def _counted(self, tensor: Tensor) -> Tensor:
        """(batch, tokens, channels) → (tokens that count, channels); (batch, channels) of whole texts as they are."""
        return tensor[self.mask] if tensor.ndim == 3 else tensor

    @staticmethod
    def _add(sums: dict[nn.Module, Tensor], module: nn.Module, total: Tensor) -> None:
        sums[module] = sums[module] + total if module in sums else total


def _changes(squares: dict[nn.Module, Tensor], projections: list[Any]) -> Tensor:
    """Of each input of each layer's projection, (layers, inputs)."""
    return torch.stack([squares[projection] * projection.weight.square().sum(0) for projection in projections])
