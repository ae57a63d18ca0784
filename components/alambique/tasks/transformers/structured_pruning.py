"""A smaller transformer: its weights are cut, and its configuration says so.

Pruning chooses sizes that remove a ratio of the parameters (Llamas) or multiply-accumulates (BERTs); narrowing is given
them. The most important layers, heads, feed-forward neurons and channels of the residual stream are kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.transformers.checkpoint import parameters
from alambique.tasks.transformers.models import macs
from alambique.tasks.transformers.prunable import Architecture, Importance, Sizes, architecture_of, sizes

COUNTED = {"parameters": "parameters", "macs": "multiply-accumulates"}


def choose(model: PreTrainedModel, how: str, ratio: float, max_tokens: int) -> Sizes:
    """The largest sizes that lack at least `ratio` of the architecture's target.

    Args:
        how: width narrows all layers alike, heads in proportion to neurons; depth removes layers; both removes about
            half of the ratio by depth.
        max_tokens: of the text whose multiply-accumulates are counted.
    Raises:
        ConfigurationError: so much cannot be removed; the message says how much can.
    """
    architecture, full = architecture_of(model), sizes(model)
    removed = _remover(model, architecture, max_tokens)
    most = 0.0
    for layers in _depths(full, how, ratio, removed):
        options = _options(full, layers, how, architecture)
        place = bisect_left(options, ratio, key=removed)  # options go from large to small
        if place < len(options):
            return options[place]
        most = max(most, removed(options[-1]) if options else 0.0)
    raise ConfigurationError(
        f"prune.ratio: {ratio:g} of the {COUNTED[architecture.target]} by {how} is more than can go ({most:.3f}): the "
        "rest are embeddings and what every layer needs; lower it, or choose another prune.how"
    )


def cut(model: PreTrainedModel, kept: Sizes, scores: Importance) -> PreTrainedModel:
    """A model of the kept sizes with the most important parts of `model`, see `measure_importance`.

    The channels of the residual stream are the same in every layer. Those that stay leave each norm about as large as
    before: it divides by their root mean square, which is larger than that of all. The global generator is left as it
    was.
    """
    architecture = architecture_of(model)
    numbers, stream = _best(scores.layers, kept.layers), _best(scores.hidden, kept.hidden)
    pooled = stream if scores.pooled is None else _best(scores.pooled, kept.hidden)
    full = model.state_dict()
    for name, squares in scores.normed.items():
        full[f"{name}.weight"] = full[f"{name}.weight"] * (squares[stream].mean() / squares.mean()).sqrt()
    prefix, state = f"{architecture.layers}.", {}
    for name, tensor in full.items():
        if not name.startswith(prefix):
            state[name] = _outside_layers(tensor, name.rsplit(".", 1)[0], architecture, stream, pooled)
    for place, number in enumerate(numbers):
        rows, columns, factors = _kept_parts(model, architecture, kept, scores, number)
        old, new = f"{prefix}{number}.", f"{prefix}{place}."
        for name, tensor in full.items():
            if name.startswith(old):
                part, kind = name.removeprefix(old).rsplit(".", 1)
                narrow = _taken(tensor, rows.get(part, stream), columns.get(part, stream))
                state[f"{new}{part}.{kind}"] = narrow * factors.get(part, 1.0)
    with torch.random.fork_rng(devices=[]):
        smaller: PreTrainedModel = type(model)(_config(model, architecture, kept, numbers))
    smaller.load_state_dict(state)
    smaller.eval()  # type: ignore[no-untyped-call]
    return smaller


def _depths(full: Sizes, how: str, ratio: float, removed: Callable[[Sizes], float]) -> list[int]:
    """Numbers of layers to try a width for; half of the ratio by depth, or less where layers are too large for that."""
    if how != "both":
        return [full.layers]
    half = [layers for layers in range(full.layers, 0, -1) if removed(full._replace(layers=layers)) <= ratio / 2]
    return [min(half), max(min(half) - 1, 1)]


def _options(full: Sizes, layers: int, how: str, architecture: Architecture) -> list[Sizes]:
    """Sizes from large to small."""
    if how == "depth":
        return [full._replace(layers=kept) for kept in range(layers - 1, 0, -1)]
    step = architecture.step
    widths = range(full.ffn if step == 1 else (full.ffn - 1) // step * step, 0, -step)
    return [
        full._replace(
            layers=layers,
            groups=max(round(full.groups * ffn / full.ffn), 1) if architecture.prunes_heads else full.groups,
            ffn=ffn,
        )
        for ffn in widths
    ]


def _remover(model: PreTrainedModel, architecture: Architecture, max_tokens: int) -> Callable[[Sizes], float]:
    """From kept sizes to the fraction of the target that is gone."""

    def count(counted: PreTrainedModel) -> int:
        return parameters(counted) if architecture.target == "parameters" else macs(counted, max_tokens)

    whole = count(model)

    def removed(kept: Sizes) -> float:
        with torch.device("meta"):  # networks with sizes and no numbers
            smaller: PreTrainedModel = type(model)(_config(model, architecture, kept, range(kept.layers)))
        return (whole - count(smaller)) / whole

    return removed


def _outside_layers(
    tensor: Tensor, part: str, architecture: Architecture, stream: list[int], pooled: list[int]
) -> Tensor:
    """What is kept of embeddings, the norm after them or after the layers, a pooler and the head."""
    if part.endswith(architecture.norms):
        return _taken(tensor, stream)
    rows = pooled if part == architecture.pooler else list(range(len(tensor)))
    return _taken(tensor, rows, pooled if part == architecture.head else stream)


def _kept_parts(
    model: PreTrainedModel, architecture: Architecture, kept: Sizes, scores: Importance, layer: int
) -> tuple[dict[str, list[int]], dict[str, list[int]], dict[str, float]]:
    """By projection, the outputs (rows of its weight) and inputs (columns) that a layer keeps, and a factor.

    What is not named reads or writes the residual stream.
    """
    full = sizes(model)
    values = scores.values[layer]
    keys = values if scores.keys is None else scores.keys[layer]
    group_values, group_keys = (
        table.reshape(full.groups, full.group_heads, full.width).sum(1) for table in (values, keys)
    )
    groups = _best(group_values.sum(1), kept.groups)
    heads = [
        group * full.group_heads + head
        for group in groups
        for head in _best(values.sum(1).reshape(full.groups, -1)[group], kept.group_heads)
    ]
    neurons = _best(scores.neurons[layer], kept.ffn)
    query, key, value = architecture.heads_in
    rows = {
        query: _channels(keys, heads, kept.width),
        key: _channels(group_keys, groups, kept.width),
        value: _channels(group_values, groups, kept.width),
        **dict.fromkeys(architecture.ffn_in, neurons),
    }
    columns = {architecture.heads_out: _channels(values, heads, kept.width), architecture.ffn_out: neurons}
    # Attention divides the products of queries and keys by the square root of a head's width.
    return rows, columns, {query: (kept.width / full.width) ** 0.5}


def _config(model: PreTrainedModel, architecture: Architecture, kept: Sizes, layers: Sequence[int]) -> Any:
    """The configuration of a model with these layers of `model`, and of these sizes."""
    config = deepcopy(model.config)
    config.num_hidden_layers, config.intermediate_size = kept.layers, kept.ffn
    config.hidden_size, config.num_attention_heads = kept.hidden, kept.groups * kept.group_heads
    if architecture.rotary:
        config.head_dim, config.num_key_value_heads = kept.width, kept.groups
    if getattr(config, "layer_types", None):
        config.layer_types = [model.config.layer_types[layer] for layer in layers]
    return config


def _best(scores: Tensor, count: int) -> list[int]:
    """The places of the highest scores, in order."""
    return sorted(torch.argsort(scores, descending=True, stable=True)[:count].tolist())


def _channels(scores: Tensor, heads: list[int], width: int) -> list[int]:
    """The most important channels of these heads; `scores` is (heads, channels of each)."""
    return [head * scores.shape[1] + channel for head in heads for channel in _best(scores[head], width)]


def _taken(tensor: Tensor, rows: list[int], columns: list[int] | None = None) -> Tensor:
    narrow = tensor[rows]
    return narrow[:, columns] if tensor.ndim == 2 else narrow
