"""Checkpoints loaded as `network.verify_loadable` has a child load them, in this process: torch is imported already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import torch_safe_load


def restricted_load(path: Path) -> Any:
    """The network of a checkpoint that names nothing but Ultralytics' and torch's layers.

    Raises:
        TypeError: it names something else.
    """
    content, _ = torch_safe_load(path, safe_only=True)
    return content["model"]
