"""What the soft labels depend on, as one key: caches with equal keys are interchangeable."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from alambique.softlabels import schema


class Recipe(BaseModel):
    """Everything that decides what a cache holds.

    Attributes:
        teachers: sha256 of each teacher's weights, in the order in which they are named.
        combine: how several teachers' outputs become one: average, or best_per_class.
        experts: for best_per_class, the number of the teacher for each class.
        data: digests of the images seen, by split.
        preprocessing: how an image becomes a teacher's input, in words and numbers.
        image_sizes: side of each teacher's input, pixels; it need not be the student's.
        top_k: class logits kept per box, at most.
        min_score: boxes below are not kept.
        max_boxes: boxes kept per image, at most.
        classes: their names, in index order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: list[str]
    combine: str
    experts: list[int] | None
    data: dict[str, str]
    preprocessing: dict[str, Any]
    image_sizes: list[int]
    top_k: int
    min_score: float
    max_boxes: int
    classes: list[str]

    @property
    def width(self) -> int:
        """Class logits kept per box: there are no more than classes."""
        return min(self.top_k, len(self.classes))

    def digest(self) -> str:
        """The key: sha256 over the recipe, the schema's version and its types."""
        content = {**self.model_dump(), "schema": schema.VERSION, "rows": str(schema.rows(self.width))}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Manifest(BaseModel):
    """Lies beside a shard and is written last: a shard without one is unfinished.

    Attributes:
        recipe: how the shard was made.
        schema_version: of the code that wrote it.
        key: the recipe's digest.
        shard, shards: which of how many.
        rows: images in this shard.
        sha256: of the shard's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    schema_version: int
    key: str
    shard: int
    shards: int
    rows: int
    sha256: str
