"""A transformer with fewer layers, heads or feed-forward neurons: its weights are cut, and its configuration says so.

Sizes are chosen that remove a ratio of the parameters (Llamas) or multiply-accumulates (BERTs); then the most important
parts are kept.
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
from alambique.tasks.transformers.prunable import Architecture, Importance, Sizes, architecture_of, layers_of, sizes

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
    """A model of the kept sizes with the most important parts of `model`, see `measure_importance`."""
    architecture = architecture_of(model)
    numbers = _best(scores.layers, kept.layers)
    prefix = f"{architecture.layers}."
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(prefix)}
    for place, number in enumerate(numbers):
        rows, columns = _kept_parts(model, architecture, kept, scores, number)
        old, new = f"{prefix}{number}.", f"{prefix}{place}."
        for name, tensor in model.state_dict().items():
            if name.startswith(old):
                part, kind = name.removeprefix(old).rsplit(".", 1)
                narrow = tensor[rows[part]] if part in rows else tensor
                if part in columns and kind == "weight":
                    narrow = narrow[:, columns[part]]
                state[f"{new}{part}.{kind}"] = narrow.clone()
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
        Sizes(layers, max(round(full.groups * ffn / full.ffn), 1) if architecture.prunes_heads else full.groups, ffn)
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


def _kept_parts(
    model: PreTrainedModel, architecture: Architecture, kept: Sizes, scores: Importance, layer: int
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """By projection, the outputs (rows of its weight) and the inputs (columns) that a layer keeps."""
    neurons = _best(scores.neurons[layer], kept.ffn)
    rows, columns = dict.fromkeys(architecture.ffn_in, neurons), {architecture.ffn_out: neurons}
    if architecture.prunes_heads:
        groups = _best(scores.groups[layer], kept.groups)
        width = _head_width(model)
        queries, *others = architecture.heads_in
        rows |= dict.fromkeys(others, _spread(groups, width))
        rows[queries] = columns[architecture.heads_out] = _spread(groups, width * _heads_in_a_group(model))
    return rows, columns


def _config(model: PreTrainedModel, architecture: Architecture, kept: Sizes, layers: Sequence[int]) -> Any:
    """The configuration of a model with these layers of `model`, and of these sizes."""
    config = deepcopy(model.config)
    config.num_hidden_layers, config.intermediate_size = kept.layers, kept.ffn
    if architecture.prunes_heads:
        config.head_dim = _head_width(model)
        config.num_attention_heads = kept.groups * _heads_in_a_group(model)
        config.num_key_value_heads = kept.groups
    if getattr(config, "layer_types", None):
        config.layer_types = [model.config.layer_types[layer] for layer in layers]
    return config


def _head_width(model: PreTrainedModel) -> int:
    return int(layers_of(model)[0].self_attn.head_dim)


def _heads_in_a_group(model: PreTrainedModel) -> int:
    return int(model.config.num_attention_heads // model.config.num_key_value_heads)


def _best(scores: Tensor, count: int) -> list[int]:
    """The places of the highest scores, in order."""
    return sorted(torch.argsort(scores, descending=True, stable=True)[:count].tolist())


def _spread(groups: list[int], width: int) -> list[int]:
    return [group * width + offset for group in groups for offset in range(width)]
