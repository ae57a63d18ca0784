"""What differs between a detector, a segmenter, a pose estimator and a detector of oriented boxes: the network's head.

Everything else (training, pruning, export, measuring) is written once, and asks the head for these.
"""

from __future__ import annotations

from typing import NamedTuple

from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.nn.modules import OBB, OBB26, Detect, Pose, Pose26, Segment, Segment26
from ultralytics.nn.tasks import DetectionModel, OBBModel, PoseModel, SegmentationModel

from alambique.tasks.yolo.dataset import HeadName


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
