"""Weights from outside, in whatever file people have them: to start a network from, or to take as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alambique.config.classify import Network
from alambique.errors import DataError
from alambique.tasks import weight_files
from alambique.tasks.classifiers.validation import logits_layer
from alambique.tasks.images import network, untrusted_checkpoint
from alambique.tasks.images.network import KIND, Classifier, ClassifierNetwork

State = dict[str, Tensor]

ALIKE = {
    "yolo26-cls": "scales n, s and custom ones are built of the same blocks, and so are m, l and x",
    "torchvision": "choose a network of the weights' kind that is smaller in every layer, as resnet18 for resnet34",
    "timm": "choose a network of the weights' kind that is smaller in every layer, as resnet18 for resnet34",
}
"""Which networks of a family can be narrowed to which."""


def load_matching(built: ClassifierNetwork, weights: Path) -> None:
    """Start a network from a file of its own architecture, or of a larger one of its family, which is narrowed.

    A head for other classes keeps its initialisation.

    Args:
        weights: a checkpoint of ours, a state dict of the architecture's own library, or an Ultralytics .pt.
    Raises:
        DataError: it cannot be read, is of another architecture, or cannot be narrowed; the message says why.
    """
    content = read(weights)
    ours = content.get("kind") == KIND
    given = _with_our_names(built.model.state_dict(), content["state"] if ours else _tensors(content))
    if built.architecture.family != "yolo26-cls":
        given = _fitting(given, built.model, built, weights)
    else:
        from alambique.tasks.yolo.chunk_split import join, split_state

        halved = network.split_blocks(built.model)
        given = join(
            _fitting(given if ours and content["split"] else split_state(given, halved), halved, built, weights)
        )
    built.model.load_state_dict(given, strict=False)


def _fitting(given: State, model: Classifier, built: ClassifierNetwork, weights: Path) -> State:
    """Tensors of the names and shapes of `model`, which has those of `built`, or has its blocks split."""
    from alambique.tasks.images import narrowing

    state, head = model.state_dict(), logits_layer(model, len(built.classes))
    counters = {name: tensor for name, tensor in state.items() if name.endswith("num_batches_tracked")}
    given = narrowing.without_blocks(given, model)
    body = [name for name in state if not name.startswith(f"{head}.")]
    if set(state) <= {*given, *counters} and any(given[name].shape != state[name].shape for name in body):
        try:
            given = narrowing.without_channels({**counters, **given}, model, head)  # old files have no counters
        except DataError as error:
            raise DataError(
                f"{weights} cannot be narrowed to {_words(built.architecture)}: {error}; "
                f"{ALIKE[built.architecture.family]}, or give weights: null"
            ) from None
    fitting = {name: tensor for name, tensor in given.items() if name in state and tensor.shape == state[name].shape}
    if 2 * len(fitting) < len(state):
        raise DataError(
            f"{weights} fits {len(fitting)} of the {len(state)} tensors of {_words(built.architecture)}: it is of "
            "another architecture; name that in params.yaml, or give other weights"
        )
    return fitting


def load_all(architecture: Network, classes: Sequence[str], weights: Path) -> ClassifierNetwork:
    """A finished classifier, all of whose tensors come from a file.

    Args:
        architecture: of a file that does not name its own.
        classes: those it must have been trained for.
        weights: as of `load_matching`.
    Raises:
        DataError: it cannot be read, is of another architecture, or was trained for other classes.
    """
    content = read(weights)
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


def read(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values; a pickle of more is read in a child process.

    Raises:
        DataError: it is damaged, or something else; the message says what.
    """
    weight_files.require_pytorch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        if foreign := weight_files.others(weight_files.class_names(path)):
            raise DataError(f"cannot use {path}: it is {foreign}, or a state dict of the network's library") from None
        content = untrusted_checkpoint.state(path)
    # Once Ultralytics has loaded a checkpoint of its own in this process, torch takes its layers for plain values.
    if isinstance(content, dict) and any(isinstance(value, torch.nn.Module) for value in content.values()):
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
