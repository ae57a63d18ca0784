"""`params.yaml` of a causal language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alambique.config import params
from alambique.config.section import CHAMPION, TEACHER, Count, Name, Positive, Runtime, Section

HUB = "hf://"
"""Prefix of a model on Hugging Face's hub: hf://org/name, hf://org/name@revision."""
TOKENIZER = "tokenizer:"
"""Prefix of a teacher's weights: only the tokenizer in their folder, for the students that share it."""


SIZES = ("layers", "hidden", "heads", "kv_heads", "ffn")
"""Keys of a network's sizes."""


class Network(Section):
    """A Llama: rotary positions, RMS norm, gated feed-forward, and the embeddings' weights for the output too.

    Attributes:
        hidden: width of the residual stream.
        heads, kv_heads: attention heads, and key and value heads (grouped-query attention); null: as many as heads.
        ffn: width of the hidden layer of the feed-forward block.
    """

    layers: Count = 4
    hidden: Count = 128
    heads: Count = 4
    kv_heads: Count | None = None
    ffn: Count = 384

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        require_even_heads(self.hidden, self.heads, self.kv_heads)
        return self


def require_even_heads(hidden: int, heads: int, kv_heads: int | None) -> None:
    """Raise a ValueError for sizes that no Llama has."""
    if hidden % heads or (hidden // heads) % 2:
        raise ValueError(
            f"hidden {hidden} over {heads} heads must be an even whole number; give a multiple of {2 * heads}"
        )
    if kv_heads and heads % kv_heads:
        raise ValueError(f"heads {heads} is no multiple of kv_heads {kv_heads}")


def require_sizes(**given: int | None) -> None:
    """Raise a ValueError if a network that may start without weights, or its control, lacks a size."""
    if missing := [name for name, size in given.items() if size is None]:
        raise ValueError(f"{', '.join(missing)}: null stands for the size in given `weights`; give a number")


class Lora(Section):
    """Low-rank adapters: only they are trained, and merged into the weights at the end (Hu et al. 2021)."""

    rank: Count = 8
    alpha: Positive = 16.0


class Student(params.Student):
    """A student's architecture, see `Network`, and the weights it and its control start from.

    Attributes:
        layers, hidden, heads, kv_heads, ffn: what the network will have; weights with more are narrowed. Null: as in
            given weights.
    """

    layers: Count | None = None
    hidden: Count | None = None
    heads: Count | None = None
    kv_heads: Count | None = None
    ffn: Count | None = None
    lora: Lora | None = None

    @property
    def network(self) -> Network:
        """The architecture without weights."""
        return Network.model_validate(self.model_dump(include=set(SIZES)))

    @model_validator(mode="after")
    def _from_scratch_it_is_whole(self) -> Self:
        if self.weights in (None, TEACHER):
            require_sizes(layers=self.layers, hidden=self.hidden, heads=self.heads, ffn=self.ffn)
            require_even_heads(self.hidden or 0, self.heads or 1, self.kv_heads)
        return self

    @model_validator(mode="after")
    def _adapters_need_weights(self) -> Self:
        if self.lora and not self.weights:
            raise ValueError("lora: adapters need weights to adapt; give `weights`, or no lora")
        return self


class FolderTeacher(params.Teacher):
    """A teacher of texts, whose weights are a Hugging Face folder."""

    @model_validator(mode="after")
    def _weights_are_a_folder(self) -> Self:
        if self.weights and self.weights.startswith(CHAMPION):
            raise ValueError(f"weights: {self.weights}: a text teacher is a folder or {HUB}org/name, no champion yet")
        return self


class Teacher(FolderTeacher):
    network: Network = Network()


class SoftLabels(params.SoftLabels):
    top_k: Annotated[int, Field(ge=1, le=4096)] = 50
    temperature: Positive = 1.0
    prompt: Count | None = None


class Training(params.Training):
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    vocabulary: Annotated[int, Field(ge=260)] = 2000


class Distill(params.Distill):
    method: Literal["soft", "sequence", "none"] = "soft"
    divergence: Literal["forward", "reverse", "jsd"] = "forward"
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5
    temperature: Positive = 1.0
    weight: Annotated[float, Field(gt=0, le=1)] = 0.9


class Prune(params.Prune):
    how: Literal["depth", "width", "both"] = "width"


class Quantize(params.Quantize):
    bits: Literal[8, 4] = 8


class Evaluate(Section):
    top_k: Annotated[int, Field(ge=1, le=4096)] = 20


class Params(params.Params):
    """All of a language model's `params.yaml`."""

    HEADLINE: ClassVar[str] = "accuracy"
    BY_CLASS: ClassVar[tuple[str, ...]] = ()
    RUNTIMES: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino")
    INT8: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino")

    task: Literal["text"] = "text"
    input_size: Annotated[int, Field(ge=8)] = 256
    networks: Mapping[Name, Student]
    teacher: Mapping[Name, Teacher]
    soft_labels: SoftLabels = SoftLabels()
    training: Training = Training()
    distill: Distill = Distill()
    prune: Prune = Prune()
    quantize: Quantize = Quantize()
    evaluate: Evaluate = Evaluate()

    @property
    def unlabelled_signals(self) -> bool:
        return False  # texts need no labels: the control learns from all of them

    def student_weights(self, student: str) -> str | None:
        """As in the base class; a student without weights gets the tokenizer of its teacher's weights, if any."""
        if initial := super().student_weights(student):
            return initial
        weights = self.teacher[self.teachers[0]].weights
        return f"{TOKENIZER}{weights}" if weights else None

    @model_validator(mode="after")
    def _the_cache_serves(self) -> Self:
        if self.distill.method == "soft" and self.distill.temperature != self.soft_labels.temperature:
            raise ValueError(
                f"distill.temperature: {self.distill.temperature:g}, but soft_labels.temperature, at which the cache "
                f"holds the remaining mass of the vocabulary, is {self.soft_labels.temperature:g}; give both the same"
            )
        if self.distill.method == "sequence" and self.soft_labels.prompt is None:
            raise ValueError(
                "distill.method: sequence trains on texts that the teacher generates, and soft_labels.prompt is "
                "null; set it to the number of tokens of each text that the teacher continues"
            )
        return self
