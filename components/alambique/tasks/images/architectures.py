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


def classifier(architecture: Network, classes: int) -> Classifier:
    """A freshly initialised network for so many classes.

    Raises:
        ConfigurationError: the family has no model of the name.
    """
    return Classifier(_body(architecture, classes), normalise=architecture.family != "yolo26-cls")


def split_blocks(model: Classifier) -> Classifier:
    """The same function without convolutions whose output is chunked, which a dependency graph cannot follow."""
    from alambique.tasks.yolo.chunk_split import split

    body: Any = model.body
    return Classifier(split(body), model.normalise).train(model.training)


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
