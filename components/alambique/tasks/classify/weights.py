"""Weights that somebody gave us, in whatever file they have them: what a network starts from, or a finished one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alambique.config.classify import Network
from alambique.errors import DataError
from alambique.tasks.classify import network as networks
from alambique.tasks.classify import pickles
from alambique.tasks.classify.network import KIND, Checkpoint

State = Mapping[str, Tensor]


def start_from(checkpoint: Checkpoint, weights: Path) -> None:
    """Copy every tensor that fits from a file; a head for other classes keeps its initialisation.

    Args:
        weights: a checkpoint of ours, a state dict of the architecture's own library, or an Ultralytics .pt.
    Raises:
        DataError: it cannot be read, or is of another architecture.
    """
    own = checkpoint.model.state_dict()
    given = _named_as(own, _state(weights))
    fitting = {name: tensor for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
    if 2 * len(fitting) < len(own):
        raise DataError(
            f"{weights} fits {len(fitting)} of the {len(own)} tensors of {_words(checkpoint.network)}: it is of "
            "another architecture; name that in params.yaml, or give other weights"
        )
    checkpoint.model.load_state_dict(fitting, strict=False)


def take(network: Network, classes: Sequence[str], weights: Path) -> Checkpoint:
    """A finished classifier, as a file has it.

    Args:
        network: what a file that does not say it is of.
        classes: those it must tell apart, in index order.
        weights: as of `start_from`.
    Raises:
        DataError: it cannot be read, is of another architecture, or tells other classes apart.
    """
    content = _read(weights)
    if content.get("kind") == KIND:
        found = networks.rebuilt(content)
        if found.classes != list(classes):
            raise DataError(f"{weights} tells {found.classes} apart, but the dataset's classes are {list(classes)}")
        return found
    made = networks.build(network, classes, 0)
    own = made.model.state_dict()
    given = _named_as(own, _tensors(content))
    if unlike := [name for name, tensor in own.items() if name not in given or given[name].shape != tensor.shape]:
        raise DataError(
            f"{weights} has other tensors than {_words(network)} for {len(classes)} classes, {unlike[0]} the first; "
            "name its architecture in params.yaml, or fine-tune it: source: train"
        )
    made.model.load_state_dict({name: given[name] for name in own})
    return made


def _read(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values; what is a pickle of more is read in a child."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        content = pickles.state(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, no weights; give a state dict or a checkpoint")
    return content


def _state(path: Path) -> State:
    content = _read(path)
    return content["state"] if content.get("kind") == KIND else _tensors(content)


def _tensors(content: dict[str, Any]) -> State:
    inner = content.get("state_dict", content)
    return {name: tensor for name, tensor in inner.items() if isinstance(tensor, Tensor)}


def _named_as(own: State, given: State) -> State:
    """A library's own names, or ours."""
    if any(name in own for name in given):
        return given
    return {f"body.{name}": tensor for name, tensor in given.items()}


def _words(network: Network) -> str:
    return f"{network.family} {network.name or network.scale}"
