"""The key of a cache: a hash of everything that soft labels depend on. Caches with equal keys are interchangeable."""

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
    """Everything that soft labels depend on; each task adds its own settings and columns.

    Attributes:
        teachers: SHA-256 of each teacher's weights, in the order of params.yaml.
        combine: how several teachers' outputs are combined.
        data: digests of the splits with soft labels.
        preprocessing: description of how a sample becomes a teacher's input.
        top_k: classes or tokens kept for each item, at most; see `topk`.
        classes: their names, in index order; none if the task has no classes.
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
        """The recipe as JSON, as in a manifest."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The key of a cache made by this recipe."""
        return digest(self.content(), str(self.layout()))


class Manifest(BaseModel):
    """manifest.json of a shard, written last: a shard without one is unfinished.

    Attributes:
        recipe: `Recipe.content`, of any task.
        columns: names and types of the shard's columns, as text.
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
    """SHA-256 over a recipe's content, the schema's version and the columns."""
    content = {**recipe, "schema": schema.VERSION, "rows": columns}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
