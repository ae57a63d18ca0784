"""Classifiers, YOLO26's own, and torchvision's and timm's by their names there: built, saved, loaded, and counted.

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

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the pixels of torchvision's and timm's models are normalised by, of each colour."""
KIND = "alambique classifier"
"""Tells a checkpoint of ours from a plain state dict."""


class Classifier(nn.Module):
    """Logits from pixels, whatever input and output the body has.

    Args:
        body: any network that returns logits, or a tuple of probabilities and logits.
        normalise: whether its input is normalised by ImageNet's mean and deviation.
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
        # In evaluation, YOLO's head returns the probabilities as well.
        logits: Tensor = output[1] if isinstance(output, tuple) else output
        return logits


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
        model = Classifier(_body(architecture, len(classes)), normalise=architecture.family != "yolo26-cls")
    plain = Network(**architecture.model_dump(include=set(Network.model_fields)))  # of a student: without its weights
    return ClassifierNetwork(model.eval(), plain, list(classes))


def load(path: Path) -> ClassifierNetwork:
    """A checkpoint of ours; DataError if the file holds none."""
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
    scale = content["network"]["scale"]
    scale = tuple(scale) if isinstance(scale, list) else scale
    architecture = Network.model_validate({**content["network"], "scale": scale})
    built = build(architecture, content["classes"], 0)
    model = split_blocks(built.model) if content["split"] else built.model
    fit(model, content["state"])
    model.load_state_dict(content["state"])
    return built._replace(model=model.eval(), split=content["split"])


def split_blocks(model: Classifier) -> Classifier:
    """The same function without convolutions whose output is chunked, which a dependency graph cannot follow."""
    from alambique.tasks.yolo.chunk_split import split

    body: Any = model.body
    return Classifier(split(body), model.normalise).train(model.training)


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of one image's inference."""
    device = next(model.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return int(counter.get_total_flops()) // 2


def _body(architecture: Network, classes: int) -> nn.Module:
    match architecture.family:
        case "yolo26-cls":
            return _yolo(architecture, classes)
        case "torchvision":
            import torchvision

            if architecture.name not in torchvision.models.list_models(torchvision.models):
                raise ConfigurationError(f"torchvision has no classifier {architecture.name!r}; see torchvision.models")
            body: nn.Module = torchvision.models.get_model(str(architecture.name), weights=None, num_classes=classes)
            return body
        case "timm":
            import timm

            if not timm.is_model(str(architecture.name)):
                raise ConfigurationError(f"timm has no model {architecture.name!r}; see timm.list_models()")
            model: nn.Module = timm.create_model(str(architecture.name), pretrained=False, num_classes=classes)
            return model


def _yolo(architecture: Network, classes: int) -> nn.Module:
    from ultralytics.nn.tasks import ClassificationModel, yaml_model_load

    from alambique.tasks.yolo.upstream import quiet

    letter = architecture.scale if isinstance(architecture.scale, str) else ""
    content = yaml_model_load(f"yolo26{letter or 'n'}-cls.yaml")
    if not letter:
        # Ultralytics looks scales up by name in the architecture.
        content |= {"scales": {"custom": list(architecture.scale or ())}, "scale": "custom"}
    with quiet():
        body: nn.Module = ClassificationModel(content | {"nc": classes}, verbose=False)
    return body


def fit(model: Classifier, state: Mapping[str, Tensor]) -> Classifier:
    """Give every tensor of `model`, in place, the shape that it has in `state`, which pruning may have narrowed."""
    for prefix, module in model.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            saved = state.get(f"{prefix}.{name}")
            if saved is None or saved.shape == tensor.shape:
                continue
            empty = torch.empty_like(saved)
            setattr(module, name, nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty)
        _set_widths(module)
    return model


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
