"""Parameters of the gates in params.yaml; the verdicts are computed in `evaluation.gates`.

To add a gate, add a class here to the union `Gate`, and its verdict there.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from alambique.config.section import Probability, Section

Reference = Literal["champion", "teacher", "control", "checkpoint", "distilled"]


class AtLeast(Section):
    """The candidate's metric must be at least `value`."""

    kind: Literal["at_least"]
    metric: str
    value: float


class AtMost(Section):
    """The candidate's metric must be at most `value`; also for latency (`latency_p50_ms`) and size (`size_mb`)."""

    kind: Literal["at_most"]
    metric: str
    value: float


class NotWorseThan(Section):
    """The candidate's metric may be worse than the reference's by at most `margin`, its interval's end by `limit`.

    Attributes:
        margin: largest loss, in the metric's unit.
        limit: largest loss at the unfavourable end of the 95 % interval; null: the interval is not checked.
    """

    kind: Literal["not_worse_than"]
    metric: str
    reference: Reference
    margin: Annotated[float, Field(ge=0)] = 0.0
    limit: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _limit_is_further(self) -> Self:
        if self.limit is not None and self.limit < self.margin:
            raise ValueError(
                f"limit: {self.limit:g} is less than the margin {self.margin:g}, but an interval reaches further than "
                "the difference itself; raise it"
            )
        return self


class EachClass(Section):
    """The candidate's metric must be at least `value` for every class of the dataset."""

    kind: Literal["each_class"]
    metric: str
    value: Probability


class TeacherBetterThan(Section):
    """The headline metric of the most accurate teacher must be above the reference's, by the whole 95 % interval."""

    kind: Literal["teacher_better_than"]
    reference: Literal["control"]


Gate = Annotated[AtLeast | AtMost | NotWorseThan | EachClass | TeacherBetterThan, Field(discriminator="kind")]
