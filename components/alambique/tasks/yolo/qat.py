"""Quantization-aware training: a student is trained to weights that survive INT8, by its own distillation objective.

A block of convolution, batch norm and activation computes as its INT8 twin would: with rounded weights, and with those
tensors rounded that the runtime's tool rounds there, on its grid. The head's last convolutions stand in no block and
stay in floating point, as `float_nodes` leaves them. What is taken from such a training are its weights: the tool
calibrates them anew.

Two things keep it from wrecking a trained network. Batch norm keeps its statistics, since those of rounded batches are
not the plain network's (Krishnamoorthi 2018 freezes them, too). And the ranges are measured once, unrounded, as the
tools measure them: followed in training, they would shrink step by step, as what one layer cuts off makes the next
layer's range smaller.

Not by NNCF's or NVIDIA ModelOpt's training (`quantize=8` of Ultralytics): the ranges they put into the network are
theirs, and lost where ONNX Runtime calibrates its own; ModelOpt also measures them on batches that pass through a loss
which cannot read soft labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from ultralytics.nn.modules import Conv, DWConv
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Params
from alambique.layout import WEIGHTS
from alambique.tasks.base import Calibration
from alambique.tasks.trainer_state import NO_PRIOR
from alambique.tasks.yolo import network, trainer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.objective import Objective

Network = TypeVar("Network", bound=nn.Module)

LEARNING_RATE = 0.01
"""Of training's: the network is trained already, and without live statistics a step changes more of what it gives."""
RANGES = ("input_range", "sum_range", "output_range")
"""What a rounding block has beside a plain one's tensors."""


class FixedNorm(nn.BatchNorm2d):
    """Batch norm which normalises by its running statistics in training, too, and leaves them as they are."""

    def train(self, mode: bool = True) -> FixedNorm:
        """Stays in evaluation."""
        return super().train(False)


class RoundedConv(Conv):  # type: ignore[misc]
    """A block in the arithmetic of INT8, as far as training needs it: gradients pass the rounding as though it were not
    there, and stop where a value lies out of range (straight-through, Bengio et al. 2013).

    Attributes:
        unsigned: as ONNX Runtime does it: codes from 0 with a zero point, for all that a node gives; otherwise as NNCF
            and TensorRT do: symmetric codes with a sign, for what a convolution takes.
        measuring: the share of the ranges that the next batch renews, while nothing is rounded; None: all is rounded,
            and the ranges stay as they are.
        input_range, sum_range, output_range: the least and the greatest value in an image, of the input, of batch
            norm's output and of the activation's: means over images, as the tools measure them.
    """

    unsigned: bool
    measuring: float | None
    input_range: Tensor
    sum_range: Tensor
    output_range: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), likewise."""
        x = self._rounded(x, self.input_range)
        weight = self.conv.weight if self.measuring else rounded_weights(self.conv.weight)
        x = self.bn(self.conv._conv_forward(x, weight, self.conv.bias))
        if self.unsigned:
            return self._rounded(self.act(self._rounded(x, self.sum_range)), self.output_range)
        return cast("Tensor", self.act(x))

    def _rounded(self, x: Tensor, value_range: Tensor) -> Tensor:
        if self.measuring:
            images = x.flatten(1)
            value_range.lerp_(torch.stack((images.amin(1).mean(), images.amax(1).mean())), self.measuring)
            return x
        low, high = value_range[0].clamp(max=0), value_range[1].clamp(min=0)
        if self.unsigned:
            step = _positive((high - low) / 255)
            return torch.fake_quantize_per_tensor_affine(x, step, (-low / step).round().int(), 0, 255)
        step = _positive(torch.maximum(-low, high) / 127)
        return torch.fake_quantize_per_tensor_affine(x, step, torch.zeros_like(step, dtype=torch.int32), -127, 127)


torch.serialization.add_safe_globals([FixedNorm, RoundedConv])  # a training's own checkpoints hold them


def rounded_weights(weight: Tensor) -> Tensor:
    """Weights rounded by output channel, where batch norm, folded into them later, changes no code."""
    step = _positive(weight.detach().float().abs().amax((1, 2, 3)) / 127)
    return torch.fake_quantize_per_channel_affine(weight, step, torch.zeros_like(step, dtype=torch.int32), 0, -127, 127)


def _positive(step: Tensor) -> Tensor:
    return step.clamp(min=torch.finfo(step.dtype).tiny)


def simulate(model: Network, unsigned: bool, inputs: Sequence[NDArray[Any]]) -> Network:
    """Let a network's blocks compute as in INT8; changes `model` itself, but none of its weights and statistics.

    Args:
        model: a detector, or some of its layers.
        unsigned: as of `RoundedConv`.
        inputs: to measure the ranges on, unrounded.
    """
    blocks: list[Any] = [block for block in model.modules() if type(block) in {Conv, DWConv}]
    for block in blocks:
        block.__class__ = RoundedConv
        block.bn.__class__ = FixedNorm
        block.unsigned = unsigned
        for name in RANGES:
            block.register_buffer(name, torch.zeros(2, device=block.conv.weight.device))
    model.eval()
    with torch.no_grad():
        for count, pixels in enumerate(inputs, 1):
            for block in blocks:
                block.measuring = 1 / count
            model(torch.from_numpy(pixels))
    for block in blocks:
        block.measuring = None
    return model


def train(
    model: DetectionModel,
    objective: Objective,
    calibration: Calibration,
    dataset: YoloDataset,
    params: Params,
    runtime: str,
    folder: Path,
) -> None:
    """Fine-tune a pruned student for `quantize.qat_steps` steps, computing as in INT8, and write the plain network.

    Without mosaic, as the end of every training is. One that was killed goes on from its last state, as every
    training does: the ranges are tensors of the network, so that a state holds them, and tells this training from one
    without them.

    Args:
        model: the student; gets the trained weights.
        runtime: whose arithmetic is simulated.
        folder: for weights.pt, of stock layers alone, and curves.csv.
    """
    gentle = params.training.model_copy(
        update={"learning_rate": LEARNING_RATE * params.training.learning_rate, "mosaic": 0.0}
    )
    trainer.train(
        simulate(deepcopy(model), runtime == "onnx", calibration.inputs),
        dataset,
        objective,
        folder,
        image_size=params.input_size,
        steps=params.quantize.qat_steps,
        training=gentle,
        seed=params.seed,
        prior=NO_PRIOR,
    )
    trained = plain(network.load(folder / WEIGHTS), model)
    network.save(trained, folder / WEIGHTS, params.input_size)


def plain(rounded: Network, model: Network) -> Network:
    """`model` with the trained weights of its rounded copy.

    Raises:
        RuntimeError: the one has tensors, beside ranges, that the other has not, or of another shape.
    """
    tensors = rounded.state_dict()
    model.load_state_dict({name: tensors[name] for name in tensors if name.rpartition(".")[2] not in RANGES})
    return model
