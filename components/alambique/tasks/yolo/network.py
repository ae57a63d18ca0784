"""Networks, whatever their head: built from an architecture, saved, loaded, counted, and described for their card.

    python -m alambique.tasks.yolo.network weights.pt detect     # what `verify_loadable` runs in a child

A checkpoint is Ultralytics' own: `YOLO("weights.pt")` loads it, predicts with it and trains it further.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from ultralytics import __version__
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.nn.modules import OBB, OBB26, Detect, Pose, Pose26, Segment, Segment26
from ultralytics.nn.tasks import (
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
    yaml_model_load,
)

from alambique.config.detect import Network
from alambique.errors import DataError
from alambique.files import sha256
from alambique.layout import WEIGHTS
from alambique.process import sandbox
from alambique.tasks import weight_files
from alambique.tasks.yolo import upstream
from alambique.tasks.yolo.dataset import HeadName

log = logging.getLogger(__name__)


class Head(NamedTuple):
    """What Ultralytics has for a head.

    Attributes:
        model: class of its networks, whose `init_criterion` makes its loss.
        layers: classes of their last layer.
        suffix: of their YAML's name.
        validator: measures them.
        metric: letter by which the trainer's metrics name the headline: of boxes (B), masks (M) or poses (P).
        matches: key by which the validator returns which predictions are right, by the measure of the headline.
    """

    model: type[DetectionModel]
    layers: tuple[type[Detect], ...]
    suffix: str
    validator: type[DetectionValidator]
    metric: str
    matches: str


HEADS: dict[HeadName, Head] = {
    "detect": Head(DetectionModel, (Detect,), "", DetectionValidator, "B", "tp"),
    "segment": Head(SegmentationModel, (Segment, Segment26), "-seg", SegmentationValidator, "M", "tp_m"),
    "pose": Head(PoseModel, (Pose, Pose26), "-pose", PoseValidator, "P", "tp_p"),
    "obb": Head(OBBModel, (OBB, OBB26), "-obb", OBBValidator, "B", "tp"),
}
"""By task."""


def build(
    network: Network, classes: Sequence[str], seed: int, task: HeadName = "detect", **details: Any
) -> DetectionModel:
    """A freshly initialised network.

    Args:
        classes: their names, in index order.
        seed: equal seeds give equal weights; the global generator is left as it was.
        details: what its class is given besides: data_kpt_shape, of a pose.
    """
    head = HEADS[task]
    letter = network.scale if isinstance(network.scale, str) else ""
    architecture = yaml_model_load(f"{network.family}{letter or 'n'}{head.suffix}.yaml")
    if not letter:
        # Ultralytics looks scales up by name in the architecture, which travels inside the checkpoint.
        architecture |= {"scales": {"custom": list(network.scale)}, "scale": "custom"}
    with torch.random.fork_rng(devices=[]), upstream.quiet():
        torch.manual_seed(seed)
        model = head.model(architecture, nc=len(classes), verbose=False, **details)
    model.names = dict(enumerate(classes))
    model.nc = len(classes)
    model.task = task
    return model


def start_from(model: DetectionModel, weights: Path, seed: int) -> DetectionModel:
    """Copy a checkpoint's tensors into `model`; those of a larger network of the same family are narrowed to it.

    Args:
        seed: of a head for other classes than the checkpoint's; equal seeds give equal weights.
    Raises:
        DataError: the checkpoint cannot be loaded, or is of another architecture.
    """
    from alambique.tasks.yolo.narrowing import narrow_into

    verify_loadable(weights, model.task)
    source = load(weights, model.task)
    if _body_shapes(source) == _body_shapes(model):
        upstream.copy_tensors(model, source, seed)
        return model
    try:
        narrow_into(model, source, seed)
    except DataError as error:
        raise DataError(
            f"{weights} is a network of {parameters(source):,} parameters that cannot be narrowed to the one "
            f"configured ({parameters(model):,}): {error}"
        ) from None
    log.info("%s narrowed from %s to %s parameters", weights, f"{parameters(source):,}", f"{parameters(model):,}")
    return model


def load(path: Path, task: HeadName = "detect") -> DetectionModel:
    """A checkpoint's model in FP32, its tensors open to training; a DataError without a detector of the task."""
    try:
        model = upstream.load_checkpoint(path)
    except Exception as error:
        raise DataError(f"{path} is not an Ultralytics checkpoint: {upstream.unknown_layers(path) or error}") from error
    if (mismatch := _mismatch(model, task)) is not None:
        head = HEADS[task]
        raise DataError(
            f"{path} holds {mismatch}; give a YOLO26, YOLO11 or YOLOv8 detector: a {head.model.__name__} whose "
            f"{head.layers[0].__name__} head has either a one-to-one branch or a distribution over box sides"
        )
    return model.requires_grad_(True)


def save(model: DetectionModel, path: Path, image_size: int) -> None:
    """Write a checkpoint as Ultralytics strips it, in half precision, but without its date and paths.

    So equal weights give equal files.

    Args:
        model: is left as it was.
        image_size: side of the input that the model was trained for, pixels.
    """
    model = deepcopy(model).half().cpu().eval().requires_grad_(False)
    prefer_one_to_one(model)
    model.criterion = None  # holds this package's loss, and needs it to load
    model.pt_path = None
    model.args = {"task": model.task, "imgsz": image_size}
    for layer in model.modules():
        layer._forward_hooks.clear()  # feature distillation leaves its own, with the features of the last batch
    torch.save({"epoch": -1, "model": model, "train_args": model.args, "version": __version__}, path)


def verify_loadable(path: Path, task: HeadName = "detect") -> None:
    """Load weights that somebody gave us, in a child without credentials which builds only known layers.

    A checkpoint is a pickle: loading one can run any code. Bytes that pass here hold nothing but layers.

    Raises:
        DataError: the file is damaged, holds no detector of the task, or names anything but Ultralytics' and torch's
            layers.
    """
    weight_files.require_network(path)
    sandbox.run(__name__, path, task)


def has_one_to_one(model: DetectionModel) -> bool:
    """Whether the head has a branch that finds each object once, as a YOLO26's has: its boxes need no suppression."""
    return getattr(model.model[-1], "one2one_cv2", None) is not None


def prefer_one_to_one(model: DetectionModel) -> None:
    """Use the one-to-one branch for inference, where there is one; as loaded, a YOLO26 uses its other one."""
    if has_one_to_one(model):
        model.end2end = True


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: DetectionModel, image_size: int) -> int:
    """Multiply-accumulates of one image's inference: batch norm folded, without the head that only training needs."""
    deployed = deepcopy(model).float().eval()
    prefer_one_to_one(deployed)  # or folding would leave the other head
    deployed = deployed.fuse(verbose=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        deployed(torch.zeros(1, 3, image_size, image_size))
    return int(counter.get_total_flops()) // 2


def describe(folder: Path, image_size: int, task: HeadName) -> dict[str, Any]:
    """What the card of the checkpoint at `folder`/weights.pt says of the network."""
    weights = folder / WEIGHTS
    model = load(weights, task)
    keypoints = {"kpt_shape": list(kpt_shape(model))} if task == "pose" else {}
    return {
        "sha256": sha256(weights),
        "parameters": parameters(model),
        "macs": macs(model, image_size),
        "size_bytes": weights.stat().st_size,
        "image_size": image_size,
        "classes": class_names(model),
        **keypoints,
    }


def kpt_shape(model: DetectionModel) -> tuple[int, int]:
    """How many keypoints an object has, and how many numbers each; (0, 0) unless it is a pose."""
    count, numbers = getattr(model.model[-1], "kpt_shape", (0, 0))
    return int(count), int(numbers)


def class_names(model: DetectionModel) -> list[str]:
    """The names a model was trained for, in index order."""
    return [str(model.names[index]) for index in sorted(model.names)]


def _mismatch(model: Any, task: HeadName) -> str | None:
    """What a checkpoint holds if it is no network of the task; those for masks, poses and others are subclasses."""
    head = HEADS[task]
    name = Path(getattr(model, "yaml", {}).get("yaml_file", "")).stem or "an unknown architecture"
    content = f"a {type(model).__name__} ({name})"
    if type(model) is not head.model:
        return content
    last: Any = model.model[-1]
    if type(last) not in head.layers:
        return f"{content} with a {type(last).__name__} head"
    if has_one_to_one(model) == (last.reg_max > 1):
        return f"{content} with{'' if has_one_to_one(model) else 'out'} a one-to-one branch, of reg_max {last.reg_max}"
    return None


def _body_shapes(model: DetectionModel) -> list[tuple[int, ...]]:
    # The head's width depends on the number of classes, the layers before it only on the architecture.
    return [tuple(parameter.shape) for parameter in model.model[:-1].parameters()]


if __name__ == "__main__":
    try:
        load(Path(sys.argv[1]), sys.argv[2])  # type: ignore[arg-type]
    except DataError as error:
        sys.exit(" ".join(str(error).split()))
