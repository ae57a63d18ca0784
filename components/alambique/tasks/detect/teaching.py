"""What a training hears of a teacher: its words from a cache, its features at every batch, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.torch_utils import unwrap_model

from alambique.files import sha256
from alambique.tasks.detect import network

Loss = Callable[..., v8DetectionLoss]
"""Makes the loss of one branch, given the model and how many anchors the assigner may give to a box."""


class Teaching(NamedTuple):
    """How a detector is taught; as it stands, by people alone.

    Attributes:
        loss: of one branch; `TaughtLoss` needs samples that were `taught`.
        features: weights of a teacher whose neck's features are matched at every batch, by Ultralytics' own
            distillation (`distill_model`): the teacher is online.
        feature_weight: of that, beside the detection loss (`dis`).
    """

    loss: Loss = v8DetectionLoss
    features: Path | None = None
    feature_weight: float = 0.0

    def settings(self) -> dict[str, object]:
        """Upstream's settings for it."""
        return {} if self.features is None else {"distill_model": str(self.features), "dis": self.feature_weight}

    def criterion(self, model: DetectionModel) -> E2ELoss | v8DetectionLoss:
        """What `model` is trained by: the loss of each branch of its head, or of the only one."""
        return E2ELoss(model, loss_fn=self.loss) if network.has_one_to_one(model) else self.loss(model)

    def identity(self) -> tuple[object, ...]:
        """What tells it from another, in any workspace."""
        return self.loss, self.features and sha256(self.features), self.feature_weight


def student(model: nn.Module) -> nn.Module:
    """The network that learns, without what a training has wrapped around it."""
    bare = unwrap_model(model)
    inner: nn.Module = getattr(bare, "student_model", bare)
    return inner
