"""`params.yaml` of a classifier of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alambique.config import params
from alambique.config.classify import Distill
from alambique.config.section import TEACHER, Count, Name, Runtime, Section
from alambique.config.text import FolderTeacher, require_sizes

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
        _require_whole_heads(self.hidden, self.heads)
        return self


class Student(params.Student):
    """A student's architecture, see `Network`, and the weights it and its control start from.

    Attributes:
        layers, hidden, heads, ffn: what the network will have; weights with more are narrowed. Null: as in given
            weights.
    """

    layers: Count | None = None
    hidden: Count | None = None
    heads: Count | None = None
    ffn: Count | None = None

    @property
    def network(self) -> Network:
        """The architecture without weights."""
        return Network.model_validate(self.model_dump(include=set(Network.model_fields)))

    @model_validator(mode="after")
    def _from_scratch_it_is_whole(self) -> Self:
        if self.weights in (None, TEACHER):
            require_sizes(layers=self.layers, hidden=self.hidden, heads=self.heads, ffn=self.ffn)
            _require_whole_heads(self.hidden or 0, self.heads or 1)
        return self


def _require_whole_heads(hidden: int, heads: int) -> None:
    if hidden % heads:
        raise ValueError(f"hidden {hidden} is no multiple of heads {heads}")


class Teacher(FolderTeacher):
    """A teacher.

    Attributes:
        pretrain_steps: of masked language modelling on all texts, labelled or not, before the classification.
    """

    network: Network = Network(layers=4, hidden=256, heads=4, ffn=1024)
    pretrain_steps: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _what_is_taken_is_not_trained(self) -> Self:
        if self.pretrain_steps and self.source == "fetch":
            raise ValueError("pretrain_steps: a teacher with source: fetch is taken as it is; make it 0")
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
