"""A BERT with fewer layers or feed-forward neurons: its weights are cut, and its configuration says so."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification, PreTrainedModel

from alambique.errors import ConfigurationError
from alambique.tasks.text_classify import encoding, network
from alambique.tasks.text_classify.encoding import Encoded

BATCH = 32
LAYERS = "bert.encoder.layer."
STEP = 8
"""Neurons are kept in multiples of it: vector units work on so many at a time."""


class Sizes(NamedTuple):
    """What is kept of each."""

    layers: int
    ffn: int


class Importance(NamedTuple):
    """What removing each part would change, as some texts tell.

    Attributes:
        neurons: of each layer's feed-forward: mean square of what it adds to the stream, (layers, ffn).
        layers: how far each turns what passes through it: 1 − cosine, (layers,); block influence (Men et al. 2024,
            ShortGPT).
    """

    neurons: Tensor
    layers: Tensor


def choose(model: PreTrainedModel, how: str, share: float, max_tokens: int) -> Sizes:
    """The largest sizes that lack at least `share` of the multiply-accumulates.

    Args:
        how: width narrows the feed-forward of all layers alike; depth removes layers.
        max_tokens: of the text that is counted.
    Raises:
        ConfigurationError: that is more than can go, or the model is no BERT.
    """
    if not isinstance(model, BertForSequenceClassification):
        raise ConfigurationError(
            f"prune: {type(model).__name__} cannot be pruned here, only a BERT can; set prune.ratio to 0"
        )
    full = Sizes(model.config.num_hidden_layers, model.config.intermediate_size)
    if how == "depth":
        options = [full._replace(layers=layers) for layers in range(full.layers - 1, 0, -1)]
    else:
        options = [full._replace(ffn=ffn) for ffn in range((full.ffn - 1) // STEP * STEP, 0, -STEP)]
    whole = network.macs(model, max_tokens)
    removed = 0.0
    for kept in options:
        # On the meta device networks have sizes and no numbers.
        with torch.device("meta"):
            smaller = BertForSequenceClassification(_config(model, kept))
        removed = 1 - network.macs(smaller, max_tokens) / whole
        if removed >= share:
            return kept
    other = "width" if how == "depth" else "depth"
    raise ConfigurationError(
        f"prune.ratio: {share:g} of the multiply-accumulates by {how} is more than can go ({removed:.3f}); lower it, "
        f"or choose how: {other}"
    )


@torch.inference_mode()
def importance(model: PreTrainedModel, own: Sequence[Encoded], pad: int) -> Importance:
    """Look at some texts.

    Args:
        model: a BERT, in evaluation mode.
        own: of train.
        pad: the token that fills up batches.
    """
    inner: Any = model
    layers = list(inner.bert.encoder.layer)
    squares = [torch.zeros(model.config.intermediate_size) for _ in layers]
    turned = torch.zeros(len(layers))
    tokens = 0
    mask = torch.ones(0)

    def hear_neurons(place: int) -> Any:
        def hear(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            squares[place].add_(given[0][mask.bool()].square().sum(0))

        return hear

    def hear_layer(place: int) -> Any:
        def hear(_: nn.Module, given: tuple[Tensor, ...], made: Any) -> None:
            after = made[0] if isinstance(made, tuple) else made
            turned[place] += (1 - nn.functional.cosine_similarity(given[0], after, dim=-1))[mask.bool()].sum()

        return hear

    handles = [layer.output.dense.register_forward_pre_hook(hear_neurons(place)) for place, layer in enumerate(layers)]
    handles += [layer.register_forward_hook(hear_layer(place)) for place, layer in enumerate(layers)]
    try:
        for part in encoding.alike(own, BATCH):
            batch = encoding.collate(part, pad)
            mask = batch["mask"]
            tokens += int(mask.sum())
            network.logits(model, batch["ids"], mask)
    finally:
        for handle in handles:
            handle.remove()
    weights = [layer.output.dense.weight.square().sum(0) for layer in layers]
    neurons = torch.stack([each * weight for each, weight in zip(squares, weights, strict=True)]) / max(tokens, 1)
    return Importance(neurons, turned / max(tokens, 1))


def cut(model: PreTrainedModel, kept: Sizes, matters: Importance) -> PreTrainedModel:
    """A model of the kept sizes with the most important parts of `model`."""
    layers = _best(matters.layers, kept.layers)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(LAYERS)}
    for place, layer in enumerate(layers):
        neurons = _best(matters.neurons[layer], kept.ffn)
        prefix = f"{LAYERS}{layer}."
        for name, tensor in model.state_dict().items():
            if not name.startswith(prefix):
                continue
            inside = name.removeprefix(prefix)
            narrow = tensor[neurons] if inside.startswith("intermediate.dense.") else tensor
            if inside == "output.dense.weight":
                narrow = narrow[:, neurons]
            state[f"{LAYERS}{place}.{inside}"] = narrow.clone()
    made = BertForSequenceClassification(_config(model, kept))
    made.load_state_dict(state)
    made.eval()  # type: ignore[no-untyped-call]
    return made


def _config(model: PreTrainedModel, kept: Sizes) -> Any:
    config = deepcopy(model.config)
    config.num_hidden_layers, config.intermediate_size = kept
    return config


def _best(scores: Tensor, count: int) -> list[int]:
    """The places of the highest scores, in order."""
    return sorted(torch.argsort(scores, descending=True, stable=True)[:count].tolist())
