"""The fields of Airflow's forms that hold text: each has a pattern and a length, for anybody may fill them."""

from __future__ import annotations

from airflow.sdk import Param

from alambique.git import LONGEST_REF, REF
from alambique.messages import LONGEST_WHY

OPTIONAL = ["string", "null"]
"""The type of a text that the form lets be empty."""

PRINTED = r"^[^\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]*$"
"""No signs that steer a terminal, nor what UTF-8 has no form for."""


def branch(default: str) -> Param:
    """The branch that a run starts from."""
    described = "The branch to start from and record on."
    return Param(default, type="string", pattern=REF, maxLength=LONGEST_REF, description=described)


def tag() -> Param:
    """The tag of a recorded run."""
    described = "The tag of a recorded run; empty: of the event that started it."
    return Param(None, type=OPTIONAL, pattern=f"^$|{REF}", maxLength=LONGEST_REF, description=described)


def why() -> Param:
    """The reason for a decision, in lines of text."""
    described = "The reason, for the record."
    return Param(None, type=OPTIONAL, pattern=PRINTED, maxLength=LONGEST_WHY, title="Why", description=described)
