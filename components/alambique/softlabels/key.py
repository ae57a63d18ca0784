"""What the soft labels depend on, as one key: caches with equal keys are interchangeable."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from alambique.softlabels import schema

STRIDES = (8, 16, 32)
"""Of the levels of a YOLO26's heads, input pixels."""


class Recipe(BaseModel, ABC):
    """Everything that decides what a cache holds, whatever its kind.

    Attributes:
        kind: what is kept of the teachers.
        teachers: sha256 of each teacher's weights, in the order in which they are named.
        combine: how several teachers' outputs become one: average, or best_per_class.
        experts: for best_per_class, the number of the teacher for each class.
        data: digests of the images seen, by split.
        top_k: class logits kept per box or anchor, at most.
        classes: their names, in index order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    teachers: list[str]
    combine: str
    experts: list[int] | None
    data: dict[str, str]
    top_k: int
    classes: list[str]

    @property
    def width(self) -> int:
        """Class logits kept per box or anchor: there are no more than classes."""
        return min(self.top_k, len(self.classes))

    @abstractmethod
    def rows(self) -> pa.Schema:
        """The Arrow schema of a shard."""

    def digest(self) -> str:
        """The key: sha256 over the recipe, the schema's version and its types."""
        content = {**self.model_dump(), "schema": schema.VERSION, "rows": str(self.rows())}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class BoxesRecipe(Recipe):
    """Once an image: its rows are `SoftLabels`.

    Attributes:
        preprocessing: how an image becomes a teacher's input, in words and numbers.
        image_sizes: side of each teacher's input, pixels; it need not be the student's.
        min_score: boxes below are not kept.
        max_boxes: boxes kept per image, at most.
    """

    kind: Literal["boxes"] = "boxes"
    preprocessing: dict[str, Any]
    image_sizes: list[int]
    min_score: float
    max_boxes: int

    def rows(self) -> pa.Schema:
        return schema.boxes(self.width)


class ViewsRecipe(Recipe):
    """For augmented views of each image: its rows are `SoftViews`.

    Attributes:
        seed: of the views' randomness.
        image_size: side of a view, pixels.
        augmentation: what the project sets of it, by Ultralytics' names; the rest is as the installed version has it.
        views: of each image.
        anchors: kept per view and branch, at most.
    """

    kind: Literal["views"] = "views"
    seed: int
    image_size: int
    augmentation: dict[str, float]
    views: int
    anchors: int

    @property
    def outputs(self) -> int:
        """Anchors that a head has: on each level one for every stride × stride pixels."""
        return sum((self.image_size // stride) ** 2 for stride in STRIDES)

    @property
    def kept(self) -> int:
        """Anchors kept per view and branch: there are no more than a head has."""
        return min(self.anchors, self.outputs)

    def rows(self) -> pa.Schema:
        return schema.views(self.views, self.kept, self.width, self.outputs)


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

    recipe: Annotated[BoxesRecipe | ViewsRecipe, Field(discriminator="kind")]
    schema_version: int
    key: str
    shard: int
    shards: int
    rows: int
    sha256: str
