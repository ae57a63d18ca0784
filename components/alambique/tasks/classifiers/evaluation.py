"""From predicted class probabilities to an evaluation: metrics, and the files that the report and the gates read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.errors import DataError
from alambique.files import write_json
from alambique.tasks.base import Measurement
from alambique.tasks.classifiers import metrics, results

CONFUSION = "confusion.json"
"""The confusion matrix: {"classes": names, "counts": a row for each class, a column for each predicted one}."""


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of logits, (n, classes); NaN where a logit is not finite."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        exponents = np.exp(wide - wide.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def match_classes(
    probabilities: NDArray[np.float64], predicted: Sequence[str], classes: Sequence[str], folder: Path
) -> NDArray[np.float64]:
    """A network's probabilities in the order of the dataset's classes; 0 for those that it was not trained for.

    Args:
        probabilities: (n, classes of the network).
        predicted: the network's classes, from its card.
        classes: the dataset's.
        folder: the network's, for the message.
    Returns:
        (n, classes of the dataset).
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


def measurement(
    samples: Sequence[str],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
) -> Measurement:
    """Metrics of n predictions; `write` writes samples.arrow and confusion.json.

    Args:
        samples: names.
        labels: class indices, (n,).
        probabilities: (n, classes).
        classes: of the dataset.
    """
    predictions = results.top_classes(samples, labels, probabilities)

    def write(folder: Path) -> None:
        results.write(folder, predictions)
        counts = metrics.confusion(predictions.classes[:, 0], labels, len(classes))
        write_json(folder / CONFUSION, {"classes": list(classes), "counts": counts.tolist()})

    return Measurement({"images": len(samples), **metrics.summarize(probabilities, labels, classes)}, write)
