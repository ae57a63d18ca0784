"""Networks small enough that every runtime's converter takes a moment for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alambique.runtimes.base import Exportable
from alambique.runtimes.torch_graph import to_onnx

OPSET = 18
SIZE = 16


class Classifier(nn.Module):
    """(1, 3, 16, 16) → (1, 4)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 32, 4, stride=4)
        self.middle = nn.Conv2d(32, 32, 3, padding=1)
        self.logits = nn.Linear(32, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.silu(self.stem(images))
        features = nn.functional.silu(self.middle(features))
        return self.logits(features.mean((2, 3)))


class TwoOutputs(Classifier):
    """(1, 3, 16, 16) → (1, 4) and the features, (1, 32, 4, 4)."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = nn.functional.silu(self.stem(images))
        return self.logits(features.mean((2, 3))), features


class Regressor(nn.Module):
    """(1, 3, 16, 16) → (1, 1, 4, 4). A constant channel of 300 makes one scale for the stem's output too coarse for the
    other channels; the network itself makes nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.scores = nn.Conv2d(8, 1, 1)
        self.stem.weight.data[0] = 0
        assert self.stem.bias is not None
        self.stem.bias.data[0] = 300
        self.middle.weight.data[:, 0] = 0
        self.scores.weight.data *= 10

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.silu(self.stem(images))
        features = nn.functional.silu(self.middle(features))
        return self.scores(nn.functional.silu(self.deep(features)))  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Token ids, (1, n), and what is remembered, (1, past), → logits, (1, n, 40), and what is remembered then."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(40, 32)
        self.output = nn.Linear(32, 40)

    def forward(self, ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        vectors = self.embedding(ids)
        remembered = torch.cat((past, vectors.sum(-1)), 1)
        return self.output(vectors) + past.sum(), remembered


def exportable(module: nn.Module, outputs: tuple[str, ...] = ("output0",)) -> Exportable:
    """A network of images, as a task would hand it over."""
    module.eval().requires_grad_(False)
    example = (torch.zeros(1, 3, SIZE, SIZE),)
    return Exportable(
        lambda: to_onnx(module, example, ("images",), outputs, OPSET),
        lambda runtime: module,
        example,
        OPSET,
        outputs=outputs,
    )


def tokens() -> Exportable:
    """A network with two inputs of free sizes."""
    module = Tokens().eval().requires_grad_(False)
    example = (torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 3))
    free = ({1: torch.export.Dim("tokens")}, {1: torch.export.Dim("past")})
    inputs, outputs = ("ids", "past"), ("logits", "remembered")
    return Exportable(
        lambda: to_onnx(module, example, inputs, outputs, 20, free),
        lambda runtime: module,
        example,
        20,
        inputs,
        outputs,
    )


def images(count: int) -> list[NDArray[np.float32]]:
    """Batches of one."""
    generator = np.random.default_rng(0)
    return [generator.random((1, 3, SIZE, SIZE), dtype=np.float32) for _ in range(count)]


def last_convolution(sources: Mapping[str, tuple[str, list[str]]], output: str) -> list[str]:
    """The nodes between the output and the convolution it comes from, that included: a task's `FloatNodes`."""
    names, waiting = set(), [output]
    while waiting:
        name = waiting.pop()
        if name in sources:
            names.add(name)
            kind, before = sources[name]
            waiting += before if kind not in {"Conv", "Convolution"} else []
    return sorted(names)
