"""Which parts of a Llama matter, as its own texts tell: heads, feed-forward neurons, layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alambique.tasks.text import sequences
from alambique.tasks.text.sequences import TokenSequence

TEXTS = 128
"""Sequences that are looked at, the first of train."""
BATCH = 16


class Importance(NamedTuple):
    """What removing each part would change.

    Attributes:
        groups: of each layer's heads that share a key, (layers, kv_heads).
        neurons: of each layer's feed-forward, (layers, ffn).
        layers: how far each turns what passes through it: 1 − cosine, (layers,); block influence (Men et al. 2024,
            ShortGPT).
    """

    groups: Tensor
    neurons: Tensor
    layers: Tensor


@torch.inference_mode()
def measure(model: PreTrainedModel, own: Sequence[TokenSequence]) -> Importance:
    """Look at some sequences.

    What a head or neuron adds to the stream is its activation times its column of the projection that follows; their
    mean square stands for what its removal changes.

    Args:
        model: built as a Llama, in evaluation mode.
        own: of train.
    """
    inner: Any = model.model
    layers: list[Any] = list(inner.layers)
    heads = [_Squares(layer.self_attn.o_proj) for layer in layers]
    neurons = [_Squares(layer.mlp.down_proj) for layer in layers]
    turned = [_Turn() for _ in layers]
    inputs = [(each.layer, each) for each in (*heads, *neurons)]
    with _heard(inputs), _heard(list(zip(layers, turned, strict=True)), both=True):
        for start in range(0, min(len(own), TEXTS), BATCH):
            batch = sequences.collate(own[start : start + BATCH])
            model(input_ids=batch["ids"], use_cache=False)
    groups = model.config.num_key_value_heads
    return Importance(
        torch.stack([each.changes().reshape(groups, -1).sum(1) for each in heads]),
        torch.stack([each.changes() for each in neurons]),
        torch.tensor([each.total / each.tokens for each in turned]),
    )


class _Squares:
    """Sums the squares of a projection's inputs."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer, self.total = layer, torch.zeros(layer.in_features)

    def __call__(self, given: Tensor) -> None:
        self.total += given.reshape(-1, given.shape[-1]).square().sum(0)

    def changes(self) -> Tensor:
        """Of each input."""
        return self.total * self.layer.weight.square().sum(0)


class _Turn:
    """Sums how far a layer turns its input."""

    def __init__(self) -> None:
        self.total, self.tokens = 0.0, 0

    def __call__(self, given: Tensor, made: Tensor) -> None:
        cosine = nn.functional.cosine_similarity(given, made, dim=-1)
        self.total += float((1 - cosine).sum())
        self.tokens += cosine.numel()


@contextmanager
def _heard(pairs: Sequence[tuple[nn.Module, Any]], both: bool = False) -> Iterator[None]:
    """Tell each listener what its module is given and, with `both`, what it makes of that."""

    def hook(listener: Any) -> Any:
        def hear(_: nn.Module, given: tuple[Tensor, ...], made: Any) -> None:
            listener(given[0], made[0] if isinstance(made, tuple) else made) if both else listener(given[0])

        return hear

    handles = [module.register_forward_hook(hook(listener)) for module, listener in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
