"""A Llama with fewer layers, heads or feed-forward neurons: its weights are cut, and its configuration says so."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.text.importance import Importance


class Sizes(NamedTuple):
    """What is kept: layers, groups of heads that share a key, feed-forward neurons."""

    layers: int
    groups: int
    ffn: int


def choose(model: PreTrainedModel, how: str, share: float) -> Sizes:
    """The largest sizes that lack at least `share` of the parameters.

    Args:
        how: width narrows all layers alike, heads in proportion to neurons; depth removes layers; both removes about
            half of the share by depth.
        share: of all parameters, above 0 and below 1.
    Raises:
        ConfigurationError: too few parameters are in what may be removed; the message says how many are.
    """
    full = sizes(model)
    for limit in (True, False):  # half by depth, or less where layers are too large for that
        for kept in _options(full, how, limit, model, share):
            if _removed(model, kept) >= share:
                return kept
    least = _removed(model, Sizes(1 if how != "width" else full.layers, *((1, 1) if how != "depth" else full[1:])))
    raise ConfigurationError(
        f"prune.ratio: {share:g} of the parameters by {how} is more than can go ({least:.3f}): the rest are embeddings "
        "and what every layer needs; lower it, or choose both"
    )


def sizes(model: PreTrainedModel) -> Sizes:
    """Those of a model."""
    config: Any = model.config
    return Sizes(config.num_hidden_layers, config.num_key_value_heads, config.intermediate_size)


def cut(model: PreTrainedModel, kept: Sizes, importance: Importance) -> PreTrainedModel:
    """A model of the kept sizes with the most important parts of `model`."""
    layers = _best(importance.layers, kept.layers)
    config = deepcopy(model.config)
    shared = config.num_attention_heads // config.num_key_value_heads
    config.head_dim = _head_width(model)
    config.num_hidden_layers, config.intermediate_size = kept.layers, kept.ffn
    config.num_key_value_heads, config.num_attention_heads = kept.groups, kept.groups * shared
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[layer] for layer in layers]
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if not name.startswith("model.layers."):
            state[name] = tensor
    for place, layer in enumerate(layers):
        groups, neurons = _best(importance.groups[layer], kept.groups), _best(importance.neurons[layer], kept.ffn)
        rows = {"k_proj": _spread(groups, config.head_dim), "v_proj": _spread(groups, config.head_dim)}
        rows["q_proj"] = _spread(groups, config.head_dim * shared)
        rows |= {"gate_proj": neurons, "up_proj": neurons}
        columns = {"o_proj": rows["q_proj"], "down_proj": neurons}
        prefix = f"model.layers.{layer}."
        for name, tensor in model.state_dict().items():
            if name.startswith(prefix):
                part = name.split(".")[-2]
                narrow = tensor[rows[part]] if part in rows else tensor
                if part in columns and name.endswith("weight"):
                    narrow = narrow[:, columns[part]]
                state[f"model.layers.{place}.{name.removeprefix(prefix)}"] = narrow.clone()
    made: PreTrainedModel = type(model)(config)
    made.load_state_dict(state)
    made.eval()  # type: ignore[no-untyped-call]
    return made


def _options(full: Sizes, how: str, half: bool, model: PreTrainedModel, share: float) -> Iterator[Sizes]:
    """Sizes from large to small."""
    layers = full.layers
    if how == "depth":
        yield from (Sizes(kept, full.groups, full.ffn) for kept in range(layers - 1, 0, -1))
        return
    if how == "both":
        by_depth = [kept for kept in range(layers, 0, -1) if _removed(model, full._replace(layers=kept)) <= share / 2]
        layers = min(by_depth) if half else max(min(by_depth) - 1, 1)
    for ffn in range(full.ffn, 0, -1):
        yield Sizes(layers, max(round(full.groups * ffn / full.ffn), 1), ffn)


def _removed(model: PreTrainedModel, kept: Sizes) -> float:
    """The share of all parameters that goes."""
    full, total = sizes(model), sum(parameter.numel() for parameter in model.parameters())
    inner: Any = model.model
    layer = inner.layers[0]
    attention, forward = (
        sum(parameter.numel() for name, parameter in part.named_parameters() if not name.endswith(fixed))
        for part, fixed in ((layer.self_attn, "o_proj.bias"), (layer.mlp, "down_proj.bias"))
    )
    whole = sum(parameter.numel() for parameter in layer.parameters())
    narrow = attention * kept.groups // full.groups + forward * kept.ffn // full.ffn + whole - attention - forward
    return float((full.layers * whole - kept.layers * narrow) / total)


def _best(scores: Tensor, count: int) -> list[int]:
    """The places of the highest scores, in order."""
    return sorted(torch.argsort(scores, descending=True, stable=True)[:count].tolist())


def _spread(groups: list[int], width: int) -> list[int]:
    return [group * width + offset for group in groups for offset in range(width)]


def _head_width(model: PreTrainedModel) -> int:
    inner: Any = model.model
    return int(inner.layers[0].self_attn.head_dim)
