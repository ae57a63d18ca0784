"""Classifiers: built from an architecture's name, saved, loaded at whatever widths they have, counted, and described.

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
from alambique.errors import ConfigurationError, DataError
from alambique.files import sha256, write_json
from alambique.layout import CARD, WEIGHTS, Kind
from alambique.tasks.classify import pickles

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the pixels of torchvision's and timm's models are normalised by, of each colour."""
KIND = "alambique classifier"
"""Tells a checkpoint of ours from a plain state dict."""

State = Mapping[str, Tensor]


class Classifier(nn.Module):
    """Logits from pixels, whatever the body wants its pixels to be, and whatever it answers with.

    Args:
        body: any network that gives logits, or a tuple of probabilities and logits.
        normalise: whether it wants ImageNet's mean and deviation taken out.
    """

    def __init__(self, body: nn.Module, normalise: bool) -> None:
        super().__init__()
        self.body = body
        self.normalise = normalise
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width), RGB, 0 to 1 → (batch, classes)."""
        output = self.body((x - self.mean) / self.std if self.normalise else x)
        # In evaluation, YOLO's head gives the probabilities as well.
        logits: Tensor = output[1] if isinstance(output, tuple) else output
        return logits


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
        ConfigurationError: the family has no model of the name, or one that is no classifier of images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(_body(network, len(classes)), network.family != "yolo26-cls")
    return Checkpoint(model.eval(), Network(**network.model_dump(include=set(Network.model_fields))), list(classes))


def split_blocks(model: Classifier) -> Classifier:
    """The same function without convolutions whose output is halved, which hide what belongs together from pruning."""
    from alambique.tasks.detect.prunable import split

    body: Any = model.body
    return Classifier(split(body), model.normalise).train(model.training)


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
        found = _rebuilt(content)
        if found.classes != list(classes):
            raise DataError(f"{weights} tells {found.classes} apart, but the dataset's classes are {list(classes)}")
        return found
    made = build(network, classes, 0)
    own = made.model.state_dict()
    given = _named_as(own, _tensors(content))
    if unlike := [name for name, tensor in own.items() if name not in given or given[name].shape != tensor.shape]:
        raise DataError(
            f"{weights} has other tensors than {_words(network)} for {len(classes)} classes, {unlike[0]} the first; "
            "name its architecture in params.yaml, or fine-tune it: source: train"
        )
    made.model.load_state_dict({name: given[name] for name in own})
    return made


def load(path: Path) -> Checkpoint:
    """A checkpoint of ours.

    Raises:
        DataError: the file holds none.
    """
    content = _read(path)
    if content.get("kind") != KIND:
        raise DataError(f"{path} is no checkpoint of a classifier; make it again")
    return _rebuilt(content)


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


def _body(network: Network, classes: int) -> nn.Module:
    match network.family:
        case "yolo26-cls":
            return _yolo(network, classes)
        case "torchvision":
            import torchvision

            if network.name not in torchvision.models.list_models(torchvision.models):
                raise ConfigurationError(f"torchvision has no classifier {network.name!r}; see torchvision.models")
            body: nn.Module = torchvision.models.get_model(str(network.name), weights=None, num_classes=classes)
            return body
        case "timm":
            import timm

            if not timm.is_model(str(network.name)):
                raise ConfigurationError(f"timm has no model {network.name!r}; see timm.list_models()")
            made: nn.Module = timm.create_model(str(network.name), pretrained=False, num_classes=classes)
            return made


def _yolo(network: Network, classes: int) -> nn.Module:
    from ultralytics.nn.tasks import ClassificationModel, yaml_model_load

    from alambique.tasks.detect.upstream import quiet

    letter = network.scale if isinstance(network.scale, str) else ""
    architecture = yaml_model_load(f"yolo26{letter or 'n'}-cls.yaml")
    if not letter:
        # Ultralytics looks scales up by name in the architecture.
        architecture |= {"scales": {"custom": list(network.scale or ())}, "scale": "custom"}
    with quiet():
        body: nn.Module = ClassificationModel(architecture | {"nc": classes}, verbose=False)
    return body


def _rebuilt(content: dict[str, Any]) -> Checkpoint:
    network = Network.model_validate({**content["network"], "scale": _scale(content["network"]["scale"])})
    made = build(network, content["classes"], 0)
    model = split_blocks(made.model) if content["split"] else made.model
    _fit(model, content["state"])
    model.load_state_dict(content["state"])
    return Checkpoint(model.eval(), made.network, made.classes, content["split"])


def _scale(scale: Any) -> Any:
    return tuple(scale) if isinstance(scale, list) else scale


def _fit(model: nn.Module, state: State) -> None:
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
