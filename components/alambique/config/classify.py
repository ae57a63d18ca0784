"""`params.yaml` of an image classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alambique.config import params
from alambique.config.section import Count, Name, Positive, Probability, Runtime, Section

Importance = Literal["magnitude", "bn_scale", "taylor"]
Mix = Literal["none", "mixup", "cutmix"]


class Network(Section):
    """An architecture: YOLO26's classifier of a scale, or a model of torchvision or timm by its name there."""

    family: Literal["yolo26-cls", "torchvision", "timm"] = "yolo26-cls"
    scale: Literal["n", "s", "m", "l", "x"] | tuple[float, float, int] | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _is_one_of_its_family(self) -> Self:
        if self.family == "yolo26-cls" and (self.name or not self.scale):
            raise ValueError("yolo26-cls has no `name`, but a `scale`: n to x, or depth, width, most channels")
        if self.family != "yolo26-cls" and (self.scale or not self.name):
            raise ValueError(f"{self.family} has a `name`, as {self.family} calls the model, and no `scale`")
        return self


class Student(Network, params.Student):
    """A student's architecture and the weights it and its control start from."""


class Teacher(params.Teacher):
    network: Network = Network(scale="n")


class Augment(Section):
    """Random augmentation of a view.

    Attributes:
        crop: smallest fraction of the image's area in a view.
        flip: probability of mirroring.
        mix: with another image's view: in all pixels (mixup), or in a rectangle (cutmix).
    """

    crop: Annotated[float, Field(gt=0, le=1)] = 0.35
    flip: Probability = 0.5
    mix: Mix = "none"


class SoftLabels(params.SoftLabels):
    views: Count = 8
    top_k: Count = 10
    augment: Augment = Augment()


class Training(params.Training):
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    augment: Augment = Augment()


class Distill(params.Distill):
    method: Literal["soft", "none"] = "soft"
    temperature: Positive = 2.0
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5


class Prune(params.Prune):
    importance: Importance = "magnitude"


class Validation(Section):
    min_images_per_class: Annotated[int, Field(ge=0)] = 1


class Params(params.Params):
    """All of a classifier's `params.yaml`."""

    HEADLINE: ClassVar[str] = "top1"
    BY_CLASS: ClassVar[tuple[str, ...]] = ("recall",)
    RUNTIMES: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino", "torchscript", "ncnn", "executorch", "mnn")
    INT8: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino", "mnn")

    task: Literal["classify"] = "classify"
    input_size: Annotated[int, Field(ge=32, multiple_of=32)] = 224
    networks: Mapping[Name, Student]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    training: Training = Training()
    distill: Distill = Distill()
    prune: Prune = Prune()
    quantize: params.StaticQuantize = params.StaticQuantize()
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _labelled_views_are_of_labelled_images(self) -> Self:
        if "labelled" in self.ablations and self.soft_labels.augment.mix != "none":
            raise ValueError(
                f"ablations: labelled cannot leave out the unlabelled images that {self.soft_labels.augment.mix} mixes "
                "into views of labelled ones; take it out, or set augment.mix: none"
            )
        return self

    @model_validator(mode="after")
    def _views_are_of_one_kind(self) -> Self:
        if self.distill.method == "soft" and self.soft_labels.augment != self.training.augment:
            raise ValueError(
                "soft_labels.augment: differs from training.augment, which augments the control's images, so that the "
                "student and its control could not be compared; give both the same"
            )
        return self
