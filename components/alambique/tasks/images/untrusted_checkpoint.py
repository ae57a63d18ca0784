"""The tensors of an Ultralytics classifier's .pt, which is a pickle: loading one can run any code.

    python -m alambique.tasks.images.untrusted_checkpoint GIVEN TENSORS     # what `state` runs in a child

The child has no credentials and builds only known layers; what comes back are tensors alone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from alambique.process import sandbox


def state(path: Path) -> dict[str, Tensor]:
    """The weights of a network that was saved whole, in FP32.

    Raises:
        DataError: the file is damaged, holds no network, or names anything but Ultralytics' and torch's layers.
    """
    with tempfile.TemporaryDirectory() as folder:
        tensors = Path(folder) / "tensors.pt"
        sandbox.run(__name__, path, str(tensors))
        state_dict: dict[str, Tensor] = torch.load(tensors, map_location="cpu", weights_only=True)
    return state_dict


def _convert(given: Path, tensors: Path) -> None:
    from alambique.tasks.yolo.upstream import load_checkpoint

    model = load_checkpoint(given)
    torch.save({name: tensor.clone() for name, tensor in model.float().state_dict().items()}, tensors)


if __name__ == "__main__":
    try:
        _convert(*map(Path, sys.argv[1:]))
    except Exception as error:
        sys.exit(" ".join(str(error).split()))
