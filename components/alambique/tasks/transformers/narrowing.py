"""Sizes of a student that starts from the weights of a larger network of its kind.

A network is narrowed in width as in Muralidharan et al. 2024 (Minitron: "Compact Language Models via Pruning and
Knowledge Distillation") and in depth as in Sanh et al. 2019 (DistilBERT): the student keeps the parts of the teacher
that matter most, instead of a random initialisation.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from alambique.config import text, text_classify
from alambique.config.section import TEACHER
from alambique.errors import DataError
from alambique.tasks.transformers.prunable import Sizes, architecture_of, sizes

Student = text.Student | text_classify.Student


def student_sizes(model: PreTrainedModel, student: Student) -> Sizes | None:
    """The sizes that a student asks for, those that are null as in `model`; None where all are.

    A head of a Llama stays as wide as it is in `model`, whatever the student's hidden / heads: rotary positions turn
    pairs of its channels. With weights of the teacher both must agree, or the control would be another network. A
    BERT's heads are hidden / heads wide by its configuration.

    Raises:
        DataError: a size is larger than in `model`, or no network can have these sizes.
        ConfigurationError: `model` is neither built as a Llama nor a BERT.
    """
    if not any(value for name, value in student if name in text.SIZES):
        return None
    architecture = architecture_of(model, "narrowed", "make the student's sizes null: as in the weights")
    full = sizes(model)
    hidden = student.hidden or full.hidden
    groups, group_heads = _heads(student, full)
    heads = groups * group_heads
    if architecture.rotary and student.weights == TEACHER and hidden != heads * full.width:
        raise DataError(
            f"heads: the teacher's are {full.width} wide, which rotary positions fix, and hidden {hidden} over {heads} "
            "are not, so that a control from scratch would be another network; give hidden / heads that width, as "
            f"hidden {heads * full.width}"
        )
    width = full.width if architecture.rotary else _bert_width(hidden, groups, full)
    wanted = Sizes(student.layers or full.layers, groups, student.ffn or full.ffn, hidden, group_heads, width)
    for name, size, most in (
        ("layers", wanted.layers, full.layers),
        ("hidden", wanted.hidden, full.hidden),
        ("kv_heads" if architecture.rotary else "heads", wanted.groups, full.groups),
        ("ffn", wanted.ffn, full.ffn),
    ):
        if size > most:
            raise DataError(
                f"{name}: {size} are more than the {most} of the weights, which can be narrowed, not widened; give "
                f"{most} or fewer, null for as many, or weights: null"
            )
    return wanted


def _heads(student: Student, full: Sizes) -> tuple[int, int]:
    """Groups of heads that share a key, and heads in each."""
    kv_heads = student.kv_heads if isinstance(student, text.Student) else None
    heads = student.heads or (kv_heads or full.groups) * full.group_heads
    groups = kv_heads or heads // full.group_heads or 1
    if heads % groups or heads // groups > full.group_heads:
        raise DataError(
            f"heads: {heads} over kv_heads {groups} is no whole number of up to {full.group_heads}, which is what the "
            f"weights have; give {full.group_heads} heads for each of up to {full.groups} kv_heads, or null for both"
        )
    return groups, heads // groups


def _bert_width(hidden: int, heads: int, full: Sizes) -> int:
    """Width of a head."""
    if hidden % heads or hidden // heads > full.width:
        possible = [
            count for count in range(1, full.groups + 1) if hidden % count == 0 and hidden // count <= full.width
        ]
        choice = " or ".join(map(str, possible)) or "none"
        raise DataError(
            f"heads: hidden {hidden} over {heads} heads is no whole number of up to {full.width}, the width of the "
            f"weights' heads; with this hidden, heads can be: {choice}"
        )
    return hidden // heads
