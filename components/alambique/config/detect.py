"""`params.yaml` of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from alambique.config import params
from alambique.config.section import TEACHER, Count, Name, Positive, Probability, Runtime, Section

Target = Literal["macs", "parameters", "latency"]
Importance = Literal["magnitude", "bn_scale", "taylor"]
Side = Annotated[int, Field(ge=32, multiple_of=32)]

Layout = Literal["raw", "end2end"]
"""Of an ONNX detector's first output: (1, 4 + classes, places), centre x, y, width, height in input pixels and a score
for each class; or (1, n, 6), x1, y1, x2, y2 in input pixels, score, class index."""
ONNX = ".onnx"

WITH_NMS = ("onnx", "openvino", "torchscript")
"""Runtimes whose files can contain the non-maximum suppression that heads of YOLO11 and YOLOv8 need."""


class Network(Section):
    """An architecture: a family and its compound scale (a letter, or depth, width, largest number of channels)."""

    family: Literal["yolo26", "yolo11", "yolov8"] = "yolo26"
    scale: Literal["n", "s", "m", "l", "x"] | tuple[float, float, int] = "n"


class Student(Network, params.Student):
    """A student's architecture and the weights it and its control start from."""

    @model_validator(mode="after")
    def _weights_can_be_trained(self) -> Self:
        if self.weights is not None and self.weights.endswith(ONNX):
            raise ValueError(f"weights: {self.weights} is an ONNX graph, which cannot be trained; null: from scratch")
        return self


class Onnx(Section):
    """How an ONNX file is used, where Ultralytics' metadata do not say it.

    Attributes:
        layout: of its first output.
        names: of its classes, in index order.
        logits: whether its scores are logits; else probabilities.
        input_max: what white is in its input, whose black is 0.
        resize: how images come into its square input: with a border of grey, or stretched.
    """

    layout: Layout | None = None
    names: tuple[str, ...] | None = None
    logits: bool = False
    input_max: Literal[1, 255] = 1
    resize: Literal["letterbox", "stretch"] = "letterbox"


class Teacher(params.Teacher):
    """A teacher; `network` null is that of its `weights`, which say their family and scale.

    Attributes:
        onnx: of an ONNX file; needed where its URI does not end in .onnx, or the file does not say how it is used.
    """

    network: Network | None = Network()
    input_size: Side | None = None
    onnx: Onnx | None = None

    @property
    def exported(self) -> bool:
        return self.onnx is not None or (self.weights is not None and self.weights.endswith(ONNX))

    @model_validator(mode="after")
    def _exported_are_fetched(self) -> Self:
        if self.exported and self.source == "train":
            raise ValueError(f"weights: {self.weights} is an ONNX graph, which cannot be fine-tuned; source: fetch")
        return self

    @model_validator(mode="after")
    def _network_of_weights(self) -> Self:
        params.require_network(self.network, self.weights)
        return self


class SoftLabels(params.SoftLabels):
    combine: Literal["average", "best_per_class"] = "average"
    min_score: Probability = 0.05
    top_k: Count = 10
    max_boxes: Count = 100


class Training(params.Training):
    optimizer: Literal["AdamW", "SGD", "MuSGD"] = "AdamW"
    mosaic: Probability = 1.0
    flip: Probability = 0.5


class Distill(params.Distill):
    method: Literal["soft", "feature", "hybrid", "none"] = "soft"
    temperature: Positive = 2.0
    weight: Positive = 0.5
    feature_weight: Positive = 6.0
    anneal: Probability = 0.0
    min_label_probability: Probability = 0.2


class Prune(params.Prune):
    target: Target = "macs"
    importance: Importance = "magnitude"
    widths: Literal["uniform", "sensitivity"] = "uniform"
    rounds: Count = 1


class Quantize(params.StaticQuantize):
    qat_steps: Annotated[int, Field(ge=0)] = 0


class Evaluate(Section):
    min_score: Probability = 0.001
    max_boxes: Count = 300
    threshold: Probability = 0.25


class Validation(Section):
    min_boxes_per_class: Annotated[int, Field(ge=0)] = 1


class YoloParams(params.Params):
    """What `params.yaml` of a detector shares with those of the other heads."""

    HEADLINE: ClassVar[str] = "map50_95"
    BY_CLASS: ClassVar[tuple[str, ...]] = ("ap", "recall")

    input_size: Side = 320
    training: Training = Training()
    evaluate: Evaluate = Evaluate()
    validation: Validation = Validation()


class Params(YoloParams):
    """All of a detector's `params.yaml`."""

    RUNTIMES: ClassVar[tuple[Runtime, ...]] = get_args(Runtime)
    INT8: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino", "mnn", "engine")
    SEARCHED: ClassVar[bool] = True

    task: Literal["detect"] = "detect"
    networks: Mapping[Name, Student]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    distill: Distill = Distill()
    prune: Prune = Prune()
    quantize: Quantize = Quantize()

    @property
    def prune_rounds(self) -> int:
        return self.prune.rounds

    def for_teacher(self, name: str) -> Self:
        size = self.teacher[name].input_size or self.input_size
        return self.model_copy(update={"input_size": size})

    @model_validator(mode="after")
    def _features_are_of_one(self) -> Self:
        if self.distill.method in {"feature", "hybrid"} and len(self.teachers) > 1:
            raise ValueError(
                f"distill.method: {self.distill.method} matches the features of one teacher, but teachers names "
                f"{list(self.teachers)}; name one, or choose soft"
            )
        return self

    @model_validator(mode="after")
    def _exported_give_soft_labels_alone(self) -> Self:
        exported = [name for name in self.teachers if self.teacher[name].exported]
        if exported and self.distill.method in {"feature", "hybrid"}:
            raise ValueError(
                f"distill.method: {self.distill.method} matches features, which the ONNX teacher {exported[0]} does "
                "not put out; choose soft"
            )
        for student in filter(self.starts_from_teacher, self.students if self.teachers[0] in exported else ()):
            raise ValueError(
                f"networks.{student}.weights: {TEACHER} is an ONNX graph, which cannot be trained; null (from scratch) "
                "or weights of its own"
            )
        return self

    @model_validator(mode="after")
    def _families_can(self) -> Self:
        never = [runtime for runtime in self.runtimes if runtime not in WITH_NMS]
        for student in self.students:
            family = self.networks[student].family
            if never and family != "yolo26":
                raise ValueError(
                    f"runtimes: {', '.join(never)} cannot suppress overlapping boxes, as {student}, a {family}, needs; "
                    f"only {', '.join(WITH_NMS)} can: take the others out, or choose family: yolo26"
                )
        return self
