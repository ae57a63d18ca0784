"""Classifiers: built, saved, loaded at the widths that pruning left them, counted and described.

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
from alambique.tasks.images.architectures import Classifier, classifier, split_blocks

KIND = "alambique classifier"
"""Tells a checkpoint of ours from a plain state dict."""


class ClassifierNetwork(NamedTuple):
    """A classifier with its description.

    Attributes:
        model: in evaluation mode, on the CPU.
        architecture: at full width.
        classes: names, in index order.
        split: whether YOLO26's blocks that chunk a convolution's output have two convolutions, as pruning leaves them.
    """

    model: Classifier
    architecture: Network
    classes: list[str]
    split: bool = False


def build(architecture: Network, classes: Sequence[str], seed: int) -> ClassifierNetwork:
    """A freshly initialised classifier; equal seeds give equal weights, and the global generator is left as it was.

    Raises:
        ConfigurationError: the family has no model of the name.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = classifier(architecture, len(classes))
    plain = Network(**architecture.model_dump(include=set(Network.model_fields)))  # of a student: without its weights
    return ClassifierNetwork(model.eval(), plain, list(classes))


def load(path: Path) -> ClassifierNetwork:
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
    return from_content(content)


def save(network: ClassifierNetwork, path: Path) -> None:
    """Write a checkpoint; equal weights give equal files."""
    content = {
        "kind": KIND,
        "network": network.architecture.model_dump(mode="json"),
        "classes": network.classes,
        "split": network.split,
        "state": {name: tensor.detach().cpu().clone() for name, tensor in network.model.state_dict().items()},
    }
    torch.save(content, path)


def from_content(content: dict[str, Any]) -> ClassifierNetwork:
    """The network of a checkpoint's content, at whatever widths it has."""
    architecture = Network.model_validate({**content["network"], "scale": _scale(content["network"]["scale"])})
    built = build(architecture, content["classes"], 0)
    model = split_blocks(built.model) if content["split"] else built.model
    _fit(model, content["state"])
    model.load_state_dict(content["state"])
    return built._replace(model=model.eval(), split=content["split"])


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image's inference."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops()) // 2


def _scale(scale: Any) -> Any:
    return tuple(scale) if isinstance(scale, list) else scale


def _fit(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every tensor of `model` the shape that it has in `state`, which pruning may have narrowed."""
    for prefix, module in model.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            saved = state.get(f"{prefix}.{name}")
            if saved is None or saved.shape == tensor.shape:
                continue
            empty = torch.empty_like(saved)
            setattr(module, name, nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty)
        _set_widths(module)


def _set_widths(module: nn.Module) -> None:
    """Set a layer's attributes to the widths of its tensors."""
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups > 1 and module.groups == module.in_channels
        module.out_channels = module.weight.shape[0]
        module.groups = module.out_channels if depthwise else module.groups
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = len(module.running_mean) if module.running_mean is not None else module.num_features
