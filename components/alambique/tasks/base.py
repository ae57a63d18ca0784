"""What stages and tasks hand to each other: networks, datasets, measurements.

`Network` is whatever a task's `build` and `load` return: stages hand it on unopened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import Metrics

if TYPE_CHECKING:
    import pandas as pd

Network = Any
"""A task's own: a DetectionModel, an image classifier with its description, a language model with its tokenizer."""

Objective = Any
"""A task's own: samples, and the loss that is minimised on them."""

Card = Mapping[str, Any]
"""Content of the card.json of a checkpoint or candidate."""

Ability = Literal["search", "ingest", "drift"]
"""What a task may do beyond the pipeline."""

TensorTypes = list[tuple[str, list[int]]]
"""NumPy's name of the type and the shape, −1 where a size is free, of each tensor."""


class Facts(NamedTuple):
    """A dataset's facts as tables, and the expectations on them.

    Attributes:
        tables: by name, with a column `path` that names a row to people.
        contract: Great Expectations' expectations on each table.
        counts: for the metrics of `validate`: samples of each split, labels of each class, …
    """

    tables: Mapping[str, pd.DataFrame]
    contract: Mapping[str, list[Any]]
    counts: Metrics


class Dataset(Protocol):
    """A dataset in the task's layout, read-only."""

    @property
    def classes(self) -> list[str]:
        """Names in index order; empty where the task has no classes."""

    def has(self, split: str) -> bool:
        """Whether it has this split: train, val, test or unlabelled."""

    def digest(self, split: str) -> str:
        """SHA-256 over all of a split that a result can depend on."""

    def size(self, split: str) -> int:
        """Number of samples in a split; 0 where it has none."""

    def labelled(self) -> Self:
        """The same dataset without its unlabelled split."""


class PruningPlans(NamedTuple):
    """How a network is narrowed, round by round.

    Attributes:
        plans: what each round narrows to, in plain JSON values: they are kept in the state of a killed training.
        sensitivity: content of sensitivity.json, where the plans depend on it: the headline metric of the full network
            under its own name, and "layers": a list of {"layer", "part", headline: [[removed fraction, what is left]]}.
    """

    plans: list[Any]
    sensitivity: dict[str, Any] | None = None


class Calibration(NamedTuple):
    """Inputs on which activation ranges are measured.

    Attributes:
        inputs: each a batch of one.
        described: for card and metrics: their number, digest, labels by class.
    """

    inputs: list[NDArray[Any]]
    described: Metrics


class Measurement(NamedTuple):
    """A network's figures on one split.

    Attributes:
        metrics: by name, `Params.HEADLINE` among them.
        write: writes the per-sample results, and what else the report shows, into a folder.
    """

    metrics: Metrics
    write: Callable[[Path], None]


class DriftFeatures(NamedTuple):
    """A network's output on n images, as numbers by which two sets of images can be compared.

    Attributes:
        embeddings: (n, d).
        numbers: per image by name, as in "confidence", each (n,).
        counts: predicted objects of each class in each image, (n, classes).
        classes: their names.
        uncertainty: normalised entropy of each image's predictions, (n,): 0 = one class has all the mass, 1 = uniform.
    """

    embeddings: NDArray[np.float64]
    numbers: dict[str, NDArray[np.float64]]
    counts: NDArray[np.float64]
    classes: list[str]
    uncertainty: NDArray[np.float64]
