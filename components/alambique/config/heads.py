"""`params.yaml` of instance segmentation, pose estimation and oriented boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alambique.config import detect, params
from alambique.config.section import Count, Name, Positive, Probability, Runtime

Head = Literal["segment", "pose", "obb"]


class Network(detect.Network):
    family: Literal["yolo26"] = "yolo26"


class Student(Network, params.Student):
    """A student's architecture and the weights it and its control start from."""


class Teacher(params.Teacher):
    network: Network | None = Network()

    @model_validator(mode="after")
    def _network_of_weights(self) -> Self:
        params.require_network(self.network, self.weights)
        return self


class SoftLabels(params.SoftLabels):
    min_score: Probability = 0.05
    max_boxes: Count = 100


class Distill(params.Distill):
    method: Literal["feature", "pseudo", "hybrid", "none"] = "feature"
    feature_weight: Positive = 6.0
    min_score: Probability = 0.5


class Prune(params.Prune):
    target: Literal["macs", "parameters"] = "macs"


class Evaluate(detect.Evaluate):
    max_boxes: Annotated[int, Field(ge=1, le=300)] = 300


class Heads(detect.YoloParams):
    """All of the `params.yaml` of these tasks."""

    RUNTIMES: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino", "torchscript")
    INT8: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino")

    task: Head
    networks: Mapping[Name, Student]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    distill: Distill = Distill()
    prune: Prune = Prune()
    quantize: params.StaticQuantize = params.StaticQuantize()
    evaluate: Evaluate = Evaluate()

    @property
    def labelled_signals(self) -> tuple[str, ...]:
        return ("features",) if self.distill.method in {"feature", "hybrid"} else ()  # pseudo-labels: unlabelled images

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if len(self.teachers) > 1:
            raise ValueError(
                f"teachers: {self.task} uses one teacher, but teachers names {list(self.teachers)}; name one"
            )
        return self


class Segment(Heads):
    task: Literal["segment"] = "segment"


class Pose(Heads):
    task: Literal["pose"] = "pose"


class Obb(Heads):
    task: Literal["obb"] = "obb"
