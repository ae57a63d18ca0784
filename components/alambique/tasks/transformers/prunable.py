"""The transformers that can be pruned: where their layers are, what is cut of them, and their sizes.

Two architectures differ in the names of their projections, in what is counted, and in that a BERT keeps its heads: its
configuration derives their width from their number.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from transformers import BertForSequenceClassification, PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.transformers.decoder import require_llama


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
    """How a model is pruned.

    Raises:
        ConfigurationError: it is neither built as a Llama nor a BERT.
    """
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
