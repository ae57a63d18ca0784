"""What the soft labels depend on, as one key: caches with equal keys are interchangeable."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from alambique.softlabels import schema

Row = TypeVar("Row", bound=tuple[Any, ...])
"""A task's named tuple of one sample: its name, then the columns of the recipe's layout, in order."""


class Recipe(BaseModel, Generic[Row]):
    """Everything that decides what a cache holds; each task adds what only its own depends on.

    Attributes:
        teachers: sha256 of each teacher's weights, in the order in which they are named.
        combine: how several teachers' outputs become one.
        data: digests of the samples seen, by split.
        preprocessing: how a sample becomes a teacher's input, in words and numbers.
        top_k: logits kept of each item, at most.
        classes: their names, in index order; none where the task has no classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: list[str]
    combine: str
    data: dict[str, str]
    preprocessing: dict[str, Any]
    top_k: int
    classes: list[str]

    @abstractmethod
    def layout(self) -> pa.Schema:
        """The columns of a shard, made by `schema.rows`."""

    @property
    @abstractmethod
    def row(self) -> Callable[..., Row]:
        """The class of its rows."""

    def content(self) -> dict[str, Any]:
        """All of it, as a manifest holds it."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The key of what is made by it."""
        return digest(self.content(), str(self.layout()))


class Manifest(BaseModel):
    """Lies beside a shard and is written last: a shard without one is unfinished.

    Attributes:
        recipe: how the shard was made, whatever the task: a `Recipe.content`.
        columns: of the shard, with their types, in words.
        schema_version: of the code that wrote it.
        key: the recipe's digest.
        shard, shards: which of how many.
        rows: samples in this shard.
        sha256: of the shard's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: dict[str, Any]
    columns: str
    schema_version: int
    key: str
    shard: int
    shards: int
    rows: int
    sha256: str


def digest(recipe: Mapping[str, Any], columns: str) -> str:
    """sha256 over a recipe's content, the schema's version and its types."""
    content = {**recipe, "schema": schema.VERSION, "rows": columns}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
