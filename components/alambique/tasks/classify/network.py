"""Classifiers: built, saved, loaded at whatever widths they have, counted, and described by a card.

A checkpoint holds the architecture, the class names and the weights, and nothing that runs when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alambique.config.classify import Network
from alambique.errors import DataError
from alambique.files import sha256, write_json
from alambique.layout import CARD, WEIGHTS, Kind
from alambique.tasks.classify.architectures import Classifier, classifier, split_blocks

KIND = "alambique classifier"
"""Tells a checkpoint of ours from a plain state dict."""


class Checkpoint(NamedTuple):
    """A classifier and what belongs to it.

    Attributes:
        model: in evaluation mode, on the CPU.
        network: its architecture at full width.
        classes: what it tells apart, in index order.
        split: whether blocks of YOLO26 that share a convolution have two instead, as pruning leaves them.
    """

    model: Classifier
    network: Network
    classes: list[str]
    split: bool = False


def build(network: Network, classes: Sequence[str], seed: int) -> Checkpoint:
    """A freshly initialised classifier; equal seeds give equal weights, and the global generator is left as it was.

    Raises:
        ConfigurationError: the family has no model of the name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = classifier(network, len(classes))
    return Checkpoint(model.eval(), Network(**network.model_dump(include=set(Network.model_fields))), list(classes))


def load(path: Path) -> Checkpoint:
    """A checkpoint of ours.

    Raises:
        DataError: the file holds none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}); restore it (`dvc checkout`)") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise DataError(f"{path} is no checkpoint of a classifier; make it again")
    return rebuilt(content)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; equal weights give equal files."""
    content = {
        "kind": KIND,
        "network": checkpoint.network.model_dump(mode="json"),
        "classes": checkpoint.classes,
        "split": checkpoint.split,
        "state": {name: tensor.detach().cpu().clone() for name, tensor in checkpoint.model.state_dict().items()},
    }
    torch.save(content, path)


def rebuilt(content: dict[str, Any]) -> Checkpoint:
    """What `save` wrote, at whatever widths it has."""
    network = Network.model_validate({**content["network"], "scale": _scale(content["network"]["scale"])})
    made = build(network, content["classes"], 0)
    model = split_blocks(made.model) if content["split"] else made.model
    _fit(model, content["state"])
    model.load_state_dict(content["state"])
    return Checkpoint(model.eval(), made.network, made.classes, content["split"])


def parameters(model: nn.Module) -> int:
    """How many numbers the checkpoint learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image's inference."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops()) // 2


def write_card(
    folder: Path,
    kind: Kind | str,
    image_size: int,
    data: str,
    student: str | None = None,
    teachers: Sequence[str] = (),
    source: str | None = None,
) -> dict[str, Any]:
    """Describe the checkpoint at `folder`/weights.pt in card.json, and return what was written.

    Args:
        folder: the checkpoint's folder.
        kind: teacher, distilled, control or pruned.
        image_size: side of the input, pixels.
        data: digest of the split it was trained on.
        student: its name, if it is one.
        teachers: sha256 of those whose soft labels it learned from, if any.
        source: where its first weights came from; None: initialised at random.
    """
    weights = folder / WEIGHTS
    checkpoint = load(weights)
    card = {
        "task": "classify",
        "kind": kind,
        "student": student,
        "network": checkpoint.network.model_dump(mode="json"),
        "sha256": sha256(weights),
        "parameters": parameters(checkpoint.model),
        "macs": macs(checkpoint.model, image_size),
        "size_bytes": weights.stat().st_size,
        "image_size": image_size,
        "classes": checkpoint.classes,
        "data": data,
        "teachers": list(teachers),
        "source": source,
    }
    write_json(folder / CARD, card)
    return card


def figures(card: dict[str, Any]) -> dict[str, int]:
    """What a stage's metrics repeat of the card."""
    return {name: card[name] for name in ("parameters", "macs", "size_bytes")}


def _scale(scale: Any) -> Any:
    return tuple(scale) if isinstance(scale, list) else scale


def _fit(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every tensor of `model` the shape that it has in `state`: pruned networks are narrower than their names."""
    for prefix, module in model.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            wanted = state.get(f"{prefix}.{name}")
            if wanted is None or wanted.shape == tensor.shape:
                continue
            empty = torch.empty_like(wanted)
            setattr(module, name, nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty)
        _say_widths(module)


def _say_widths(module: nn.Module) -> None:
    """Let a layer's own numbers agree with its tensors."""
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups > 1 and module.groups == module.in_channels
        module.out_channels = module.weight.shape[0]
        module.groups = module.out_channels if depthwise else module.groups
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = len(module.running_mean) if module.running_mean is not None else module.num_features
