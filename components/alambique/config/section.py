"""Base class and common types of the sections of params.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _name(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ValueError(f"{value!r} is not a name: a lower-case letter, then letters, digits and underscores")
    return value


Name = Annotated[str, BeforeValidator(_name)]
"""Part of folders, stage names, Airflow task ids and registered models: no slash, hyphen or space."""

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Runtime = Literal["onnx", "openvino", "torchscript", "ncnn", "executorch", "mnn", "coreml", "engine"]

CHAMPION = "champion:"
"""Prefix of a runtime: the weights are the checkpoint of that runtime's present champion."""
TEACHER = "teacher"
"""A student's initial weights that are those of its teacher."""


class Section(BaseModel):
    """Frozen, strict about its keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)
