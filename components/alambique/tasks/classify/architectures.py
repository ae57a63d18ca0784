"""The architectures that a classifier can have: YOLO26's own, and torchvision's and timm's by their names there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alambique.config.classify import Network
from alambique.errors import ConfigurationError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the pixels of torchvision's and timm's models are normalised by, of each colour."""


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


def classifier(network: Network, classes: int) -> Classifier:
    """A freshly initialised network that tells so many classes apart.

    Raises:
        ConfigurationError: the family has no model of the name.
    """
    return Classifier(_body(network, classes), normalise=network.family != "yolo26-cls")


def split_blocks(model: Classifier) -> Classifier:
    """The same function without convolutions whose output is halved, which hide what belongs together from pruning."""
    from alambique.tasks.detect.halves import split

    body: Any = model.body
    return Classifier(split(body), model.normalise).train(model.training)


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
