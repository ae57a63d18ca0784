"""The teachers' dense outputs, kept sparsely: from their heads into the cache, and from the cache into a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from alambique.errors import DataError
from alambique.softlabels.schema import BRANCHES, SoftViews, index_type
from alambique.tasks.detect.combine import CERTAIN

ANCHORS, LOGITS, BOXES = "kept_anchors", "kept_logits", "kept_boxes"
"""The batch's keys for what is kept of an image's view; see `unpack`."""


class Answers(NamedTuple):
    """What the heads of a detector give for a batch of inputs, branch by branch in the order of `BRANCHES`.

    Attributes:
        logits: of every class, (…, 2, anchors, classes).
        boxes: distances from the anchor's centre to the left, top, right and bottom side, in the anchor's strides,
            (…, 2, anchors, 4).
    """

    logits: Tensor
    boxes: Tensor


class Dense(NamedTuple):
    """One branch's kept outputs in their places among all anchors.

    Attributes:
        kept: whether an anchor's output was kept, (batch, anchors).
        logits: of every class, −inf for a class or an anchor that was not kept, (batch, anchors, classes).
        boxes: as in `Answers`, 0 at an anchor that was not kept, (batch, anchors, 4).
    """

    kept: Tensor
    logits: Tensor
    boxes: Tensor


@torch.inference_mode()
def answer(model: DetectionModel, images: Tensor) -> Answers:
    """What a teacher answers, on the CPU, wherever the model is.

    Args:
        model: in evaluation mode.
        images: (batch, 3, size, size), RGB, 0 to 1.
    Raises:
        DataError: it has lost the branch that only training needs.
    """
    heads = model(images.to(next(model.parameters()).device))[1]
    if missing := [branch for branch in BRANCHES if not heads.get(branch)]:
        raise DataError(
            f"a teacher has no branch {missing[0]}: it was fused for export (give its training checkpoint), or is of a "
            "family with one head, as YOLO11 and YOLOv8 are, of which soft_labels.kind: boxes can learn, and not views"
        )
    stacked = (torch.stack([heads[branch][part] for branch in BRANCHES], 1) for part in ("scores", "boxes"))
    return Answers(*(part.transpose(2, 3).float().cpu() for part in stacked))


def combine(teachers: Sequence[Answers], experts: Sequence[int] | None) -> Answers:
    """Several teachers' answers made one, anchor by anchor: they all have the same anchors.

    Args:
        teachers: what each of them answers to the same inputs.
        experts: the teacher for each class, whose logit and, where that class is the likeliest, box is taken; None:
            the logit of the mean probability, and the box of the teacher that is surest there.
    """
    if len(teachers) == 1:
        return teachers[0]
    logits, boxes = (torch.stack(parts) for parts in zip(*teachers, strict=True))
    if experts is None:
        mixed = logits.double().sigmoid().mean(0).logit(CERTAIN).float()
        owner = logits.amax(-1).argmax(0)
    else:
        mixed = torch.stack([logits[expert, ..., index] for index, expert in enumerate(experts)], -1)
        owner = torch.tensor(experts)[mixed.argmax(-1)]
    return Answers(mixed, boxes.gather(0, owner[None, ..., None].expand(1, *boxes.shape[1:]))[0])


def pack(image: str, checksums: Sequence[int], answers: Answers, kept: int, width: int) -> SoftViews:
    """The anchors whose likeliest class is the likeliest, surest first.

    Args:
        image: path inside data/images.
        checksums: of its views' pixels.
        answers: to these views.
        kept: anchors to keep per view and branch.
        width: class logits to keep per anchor.
    """
    anchors = answers.logits.amax(-1).topk(kept, -1).indices
    logits, boxes = (part.take_along_dim(anchors[..., None], -2) for part in answers)
    top = logits.topk(width, -1)
    return SoftViews(
        image=image,
        checksums=np.array(checksums, np.uint32),
        anchors=anchors.numpy().astype(index_type(answers.logits.shape[-2])),
        logits=top.values.numpy().astype(np.float16),
        classes=top.indices.numpy().astype(np.int16),
        boxes=boxes.numpy().astype(np.float16),
    )


def unpack(soft: SoftViews, view: int, classes: int) -> dict[str, Tensor]:
    """What is kept of one view, for a batch, m anchors for each of the 2 `BRANCHES`.

    Returns:
        kept_anchors: indices among the head's outputs, surest first, (2, m), int64.
        kept_logits: of every class, −inf for one that was not kept, (2, m, classes).
        kept_boxes: as in `Answers`, (2, m, 4).
    """
    logits = np.full((*soft.logits.shape[1:3], classes), -np.inf, np.float32)
    np.put_along_axis(logits, soft.classes[view].astype(np.int64), soft.logits[view].astype(np.float32), axis=-1)
    return {
        ANCHORS: torch.from_numpy(soft.anchors[view].astype(np.int64)),
        LOGITS: torch.from_numpy(logits),
        BOXES: torch.from_numpy(soft.boxes[view].astype(np.float32)),
    }


def scatter(batch: Mapping[str, Tensor], branch: str, anchors: int) -> Dense:
    """What a batch carries of one branch, in its place among all anchors.

    To look only at the kept anchors, gather the student's outputs at `batch["kept_anchors"]` instead: it is cheaper.

    Args:
        batch: holds, for each image, what `unpack` gives.
        branch: of `BRANCHES`.
        anchors: that the student's head has.
    """
    number = BRANCHES.index(branch)
    places, logits, boxes = (batch[key][:, number] for key in (ANCHORS, LOGITS, BOXES))
    rows = torch.arange(len(places), device=places.device)[:, None]
    kept = torch.zeros(len(places), anchors, dtype=torch.bool, device=places.device)
    kept[rows, places] = True
    return Dense(kept, _placed(logits, rows, places, anchors, -torch.inf), _placed(boxes, rows, places, anchors, 0))


def _placed(values: Tensor, rows: Tensor, places: Tensor, anchors: int, elsewhere: float) -> Tensor:
    full = values.new_full((len(values), anchors, values.shape[-1]), elsewhere)
    full[rows, places] = values
    return full
