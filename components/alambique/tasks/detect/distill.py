"""Students: distilled from labels and soft labels, their control without a teacher, and recovery after pruning."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from alambique.config import Params
from alambique.tasks import Metrics


def recover(model: nn.Module, project: Path, params: Params, epochs: int, target: Path) -> Metrics:
    """Train `model` as it is from labels and soft labels; write weights.pt and curves.csv into `target`.

    The caller describes the result with `network.write_card`.

    Args:
        model: a pruned detector; its layers are kept.
        project: the project's root, with data/ and soft_labels/.
        params: its params.yaml.
        epochs: over labelled and unlabelled images.
        target: an existing folder.
    """
    raise NotImplementedError
