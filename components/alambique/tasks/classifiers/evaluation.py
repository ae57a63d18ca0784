"""From labelled samples to an evaluation: metrics, and the files that the report and the gates read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.evaluation.measures import Metrics
from alambique.files import read_json, write_json
from alambique.layout import CARD
from alambique.runtimes.base import Program, Validation
from alambique.tasks.base import Measurement
from alambique.tasks.classifiers import metrics, results

CONFUSION = "confusion.json"
"""The confusion matrix: {"classes": names, "counts": a row for each class, a column for each predicted one}."""
PARITY = 64
"""Test samples that are compared, the first by name: an export that breaks something breaks it on every sample."""


class Sample(NamedTuple):
    """A labelled sample of a split; `label` is a class index, `read` gives a network's input, a batch of one."""

    name: str
    label: int
    read: Callable[[], NDArray[Any]]


def measure(folder: Path, program: Program, samples: Sequence[Sample], classes: Sequence[str]) -> Measurement:
    """Metrics of n predictions; `write` writes samples.arrow and confusion.json.

    Args:
        folder: of the checkpoint or candidate, whose classes are matched with the dataset's by name.
    Raises:
        DataError: there are no classes in common, or the output has another shape.
    """
    predicted = match_classes(
        probabilities(program, samples, folder), read_json(folder / CARD)["classes"], classes, folder
    )
    labels = np.array([sample.label for sample in samples])
    predictions = results.top_classes([sample.name for sample in samples], labels, predicted)

    def write(target: Path) -> None:
        results.write(target, predictions)
        counts = metrics.confusion(predictions.classes[:, 0], labels, len(classes))
        write_json(target / CONFUSION, {"classes": list(classes), "counts": counts.tolist()})

    return Measurement({"images": len(samples), **metrics.summarize(predicted, labels, classes)}, write)


def parity(artifact: NDArray[np.floating], checkpoint: NDArray[np.floating]) -> Metrics:
    """How far an artifact's probabilities are from those of the checkpoint that it was exported from.

    Args:
        artifact, checkpoint: of the same samples, (n, classes), n > 0.
    Returns:
        samples: n; max_score_difference: of any probability, None where one is not finite; max_output_difference: None,
        as there is no other output; agreement: share of samples with the same likeliest class, 0 to 1.
    """
    difference = np.abs(artifact - checkpoint).max()
    same = artifact.argmax(axis=1) == checkpoint.argmax(axis=1)
    return {
        "samples": len(artifact),
        "max_score_difference": float(difference) if np.isfinite(difference) else None,
        "max_output_difference": None,
        "agreement": float((same & np.isfinite(artifact).all(axis=1)).mean()),
    }


def validation(samples: Sequence[Sample]) -> Validation:
    """What measures a program: top-1, and whether each sample was right; not where a logit is not finite."""

    def score(program: Program, scored: Iterable[Sample]) -> tuple[float, list[float]]:
        correct = []
        for sample in scored:
            logits = program(sample.read())[0][0]
            correct.append(float(np.isfinite(logits).all() and logits.argmax() == sample.label))
        return float(np.mean(correct)), correct

    return Validation(samples, score)


def probabilities(program: Program, samples: Iterable[Sample], source: Path) -> NDArray[np.float64]:
    """The class probabilities of n > 0 samples by a program of `source`, (n, classes); NaN where a logit is not finite.

    Raises:
        DataError: its output has another shape, or a sample cannot be read.
    """
    outputs = []
    for sample in samples:
        (logits,) = program(sample.read())
        if logits.ndim != 2 or len(logits) != 1:
            raise DataError(f"{source} returned {logits.shape}, not the logits of one sample; export it again")
        outputs.append(logits)
    return softmax(np.concatenate(outputs))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of logits, (n, classes); NaN where a logit is not finite."""
    with np.errstate(invalid="ignore"):
        return np.asarray(scipy.special.softmax(logits.astype(np.float64), axis=1))


def match_classes(
    probabilities: NDArray[np.float64], predicted: Sequence[str], classes: Sequence[str], folder: Path
) -> NDArray[np.float64]:
    """A network's probabilities in the order of the dataset's classes; 0 for those that it was not trained for.

    Args:
        probabilities: of the network in `folder`, (n, predicted classes); (n, classes of the dataset) are returned.
    Raises:
        DataError: they have no class in common.
    """
    common = [name for name in classes if name in predicted]
    if not common:
        raise DataError(
            f"{folder} knows {list(predicted)}, none of the dataset's {list(classes)}: it is another task's network"
        )
    matched = np.zeros((len(probabilities), len(classes)))
    targets, sources = ([names.index(name) for name in common] for names in (list(classes), list(predicted)))
    matched[:, targets] = probabilities[:, sources]
    return matched
