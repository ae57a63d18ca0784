"""Quantization-aware training: a student learns, from labels and soft labels, weights that survive INT8.

A block of convolution, batch norm and activation computes as its INT8 twin would: from a rounded input, with rounded
weights, and what batch norm makes of it is rounded. These are the tensors that the runtimes' tools round; the head's
last convolutions, which stand in no block, stay in floating point here and there. What is taken from such a training
are its weights: each runtime's tool calibrates them anew.

Not Ultralytics' own (`quantize=8`, by NVIDIA ModelOpt): it rounds a convolution's input and weights alone, and fixes
the ranges before the first step, from batches that pass through a loss which cannot read soft labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from ultralytics.nn.modules import Conv, DWConv
from ultralytics.nn.tasks import DetectionModel

from alambique.config import Params
from alambique.layout import WEIGHTS
from alambique.tasks.detect import network
from alambique.tasks.detect.distill import recover
from alambique.tasks.detect.export import student_checkpoint

LIMIT = 127
"""The largest code; the smallest is its opposite, as in NNCF's and TensorRT's symmetric INT8. ONNX Runtime's unsigned
codes are as fine or finer."""
LEARNING_RATE = 0.1
"""Of training's."""
MOMENTUM = 0.05
"""How much of a range one batch renews."""
RANGES = ("input_range", "output_range")


class RoundedConv(Conv):  # type: ignore[misc]
    """A block in the arithmetic of INT8, as far as learning needs it: gradients pass the rounding as though it were not
    there, and stop where a value lies out of range (straight-through, Bengio et al. 2013).

    Attributes:
        input_range, output_range: the largest magnitude in an image, of the input and of batch norm's output: a
            running mean over images, as calibration measures it. 0: not known yet.
    """

    input_range: Tensor
    output_range: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), likewise."""
        x = self._rounded(x, self.input_range)
        x = self.conv._conv_forward(x, rounded_weights(self.conv.weight), self.conv.bias)
        return cast("Tensor", self.act(self._rounded(self.bn(x), self.output_range)))

    def _rounded(self, x: Tensor, limit: Tensor) -> Tensor:
        if self.training:
            seen = x.detach().abs().amax((1, 2, 3)).mean().to(limit.dtype)
            limit.copy_(torch.where(limit > 0, limit.lerp(seen, MOMENTUM), seen))
        return torch.fake_quantize_per_tensor_affine(
            x, _step(limit), torch.zeros((), dtype=torch.int32, device=x.device), -LIMIT, LIMIT
        )


def rounded_weights(weight: Tensor) -> Tensor:
    """Weights rounded by output channel, where batch norm, folded into them later, changes no code."""
    limit = weight.detach().float().abs().amax((1, 2, 3))
    zero = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, _step(limit), zero, 0, -LIMIT, LIMIT)


def _step(limit: Tensor) -> Tensor:
    return limit.clamp(min=torch.finfo(torch.float32).tiny * LIMIT) / LIMIT


def simulate(model: DetectionModel) -> DetectionModel:
    """Let a detector's blocks compute as in INT8; changes `model` itself, but none of its weights."""
    for block in model.modules():
        if type(block) in {Conv, DWConv}:
            block.__class__ = RoundedConv
            for name in RANGES:
                block.register_buffer(name, torch.zeros((), device=block.conv.weight.device))
    return model


def learn(project: Path, params: Params, student: str, target: Path) -> Path:
    """Fine-tune the pruned student for `quantize.qat_epochs`, computing as in INT8, and write the plain network.

    A training that was killed goes on from its last state, as every training does: the ranges are tensors of the
    network, so that a state holds them, and tells this training from one without them.

    Args:
        project: the project's root, with data/, soft_labels/ and the pruned student.
        params: its params.yaml.
        student: its name.
        target: an existing folder.
    Returns:
        the checkpoint's path: stock layers alone.
    Raises:
        IntegrityError: the checkpoint is not what its card says, the cache is damaged, or it was made from other images
            or by other teachers than today's.
    """
    weights, image_size = student_checkpoint(project, student)
    training = params.training
    gentle = training.model_copy(update={"learning_rate": LEARNING_RATE * training.learning_rate})
    rounded = simulate(network.load(weights))
    recover(rounded, project, params.model_copy(update={"training": gentle}), params.quantize.qat_epochs, target)
    learned = plain(network.load(target / WEIGHTS), network.load(weights))
    network.save(learned, target / WEIGHTS, image_size)
    return target / WEIGHTS


def plain(rounded: DetectionModel, model: DetectionModel) -> DetectionModel:
    """`model` with what its rounded copy has learned.

    Raises:
        RuntimeError: the one has tensors, beside ranges, that the other has not, or of another shape.
    """
    tensors = rounded.state_dict()
    model.load_state_dict({name: tensors[name] for name in tensors if name.rpartition(".")[2] not in RANGES})
    return model
