"""Weights from outside, in whatever file people have them: to start a network from, or to take as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alambique.config.classify import Network
from alambique.errors import DataError
from alambique.tasks.images import network, untrusted_checkpoint
from alambique.tasks.images.network import KIND, ClassifierNetwork

State = Mapping[str, Tensor]


def load_matching(built: ClassifierNetwork, weights: Path) -> None:
    """Copy every tensor that fits from a file into a network; a head for other classes keeps its initialisation.

    Args:
        weights: a checkpoint of ours, a state dict of the architecture's own library, or an Ultralytics .pt.
    Raises:
        DataError: it cannot be read, or is of another architecture.
    """
    state, content = built.model.state_dict(), _read(weights)
    given = _with_our_names(state, content["state"] if content.get("kind") == KIND else _tensors(content))
    fitting = {name: tensor for name, tensor in given.items() if name in state and tensor.shape == state[name].shape}
    if 2 * len(fitting) < len(state):
        raise DataError(
            f"{weights} fits {len(fitting)} of the {len(state)} tensors of {_words(built.architecture)}: it is of "
            "another architecture; name that in params.yaml, or give other weights"
        )
    built.model.load_state_dict(fitting, strict=False)


def load_all(architecture: Network, classes: Sequence[str], weights: Path) -> ClassifierNetwork:
    """A finished classifier, all of whose tensors come from a file.

    Args:
        architecture: of a file that does not name its own.
        classes: those it must have been trained for.
        weights: as of `load_matching`.
    Raises:
        DataError: it cannot be read, is of another architecture, or was trained for other classes.
    """
    content = _read(weights)
    if content.get("kind") == KIND:
        ours = network.from_content(content)
        if ours.classes != list(classes):
            raise DataError(f"{weights} tells {ours.classes} apart, but the dataset's classes are {list(classes)}")
        return ours
    built = network.build(architecture, classes, 0)
    state = built.model.state_dict()
    given = _with_our_names(state, _tensors(content))
    if unlike := [name for name, tensor in state.items() if name not in given or given[name].shape != tensor.shape]:
        raise DataError(
            f"{weights} has other tensors than {_words(architecture)} for {len(classes)} classes, {unlike[0]} the "
            "first; name its architecture in params.yaml, or fine-tune it: source: train"
        )
    built.model.load_state_dict({name: given[name] for name in state})
    return built


def _read(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values; a pickle of more is read in a child process."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        content = untrusted_checkpoint.state(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, no weights; give a state dict or a checkpoint")
    return content


def _tensors(content: dict[str, Any]) -> State:
    inner = content.get("state_dict", content)
    return {name: tensor for name, tensor in inner.items() if isinstance(tensor, Tensor)}


def _with_our_names(state: State, given: State) -> State:
    """Tensors by the names that `state` has, where the file has those of its library."""
    if any(name in state for name in given):
        return given
    return {f"body.{name}": tensor for name, tensor in given.items()}


def _words(architecture: Network) -> str:
    return f"{architecture.family} {architecture.name or architecture.scale}"
