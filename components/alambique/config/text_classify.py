"""`params.yaml` of a classifier of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alambique.config import params
from alambique.config.classify import Distill
from alambique.config.section import Count, Name, Runtime, Section
from alambique.config.text import FolderTeacher

MIN_TOKENS = 8


class Network(Section):
    """A BERT: a bidirectional Transformer encoder.

    Attributes:
        hidden: width of the residual stream.
        heads: attention heads.
        ffn: width of the hidden layer of the feed-forward block.
    """

    layers: Count = 2
    hidden: Count = 128
    heads: Count = 2
    ffn: Count = 512

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")
        return self


class Student(Network, params.Student):
    """A student's architecture; or initial weights for it and its control, which determine the architecture."""


class Teacher(FolderTeacher):
    """A teacher.

    Attributes:
        pretrain: epochs of masked language modelling on all texts, labelled or not, before the classification.
    """

    network: Network = Network(layers=4, hidden=256, heads=4, ffn=1024)
    pretrain: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _what_is_taken_is_not_trained(self) -> Self:
        if self.pretrain and self.source == "fetch":
            raise ValueError("pretrain: a teacher with source: fetch is taken as it is; make it 0")
        return self


class SoftLabels(params.SoftLabels):
    top_k: Annotated[int, Field(ge=1, le=1000)] = 100


class Training(params.Training):
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    vocabulary: Annotated[int, Field(ge=100)] = 4000


class Prune(params.Prune):
    how: Literal["width", "depth"] = "width"


class Validation(Section):
    min_texts_per_class: Annotated[int, Field(ge=0)] = 1


class Params(params.Params):
    """All of a text classifier's `params.yaml`."""

    HEADLINE: ClassVar[str] = "top1"
    BY_CLASS: ClassVar[tuple[str, ...]] = ("recall",)
    RUNTIMES: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino", "torchscript")
    INT8: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino")

    task: Literal["text_classify"] = "text_classify"
    input_size: Annotated[int, Field(ge=MIN_TOKENS)] = 64
    networks: Mapping[Name, Student]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    training: Training = Training()
    distill: Distill = Distill()
    prune: Prune = Prune()
    validation: Validation = Validation()
