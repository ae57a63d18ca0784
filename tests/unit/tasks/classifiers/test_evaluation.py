from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alambique.errors import DataError
from alambique.files import read_json, write_json
from alambique.layout import CARD
from alambique.tasks.classifiers import evaluation, results
from alambique.tasks.classifiers.evaluation import Sample


def test_softmax_gives_probabilities_and_no_number_where_there_was_none() -> None:
    probabilities = evaluation.softmax(np.array([[0.0, np.log(3)], [np.nan, 1.0], [np.inf, 1.0]], np.float32))
    assert probabilities[0] == pytest.approx([0.25, 0.75])
    assert np.isnan(probabilities[1:]).any(axis=1).all()


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    matched = evaluation.match_classes(np.array([[0.7, 0.3]]), ["dog", "cat"], ["ant", "cat", "dog"], tmp_path)
    assert matched.tolist() == [[0.0, 0.3, 0.7]]
    with pytest.raises(DataError, match="none of the dataset's"):
        evaluation.match_classes(np.array([[1.0]]), ["cow"], ["cat", "dog"], tmp_path)


def test_a_measurement_writes_its_predictions_and_the_confusion_matrix(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    write_json(tmp_path / CARD, {"classes": ["cat", "dog"]})
    labels = {"a": 0, "b": 1, "c": 1}
    rows = [np.array([row]) for row in range(3)]
    samples = [Sample(name, labels[name], lambda row=row: row) for name, row in zip(labels, rows, strict=True)]
    measurement = evaluation.measure(tmp_path, lambda row: [np.log(probabilities[row])], samples, ["cat", "dog"])
    assert measurement.metrics["images"] == 3
    assert measurement.metrics["top1"] == pytest.approx(2 / 3)
    measurement.write(tmp_path)
    assert results.read(tmp_path).correct.tolist() == [True, True, False]
    assert read_json(tmp_path / evaluation.CONFUSION) == {"classes": ["cat", "dog"], "counts": [[1, 0], [1, 1]]}


def test_parity_is_the_largest_difference_and_the_share_of_equal_classes() -> None:
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    two = np.array([[0.8, 0.2], [0.45, 0.55], [0.2, 0.8]])
    figures = evaluation.parity(one, two)
    assert figures["samples"] == 3
    assert figures["agreement"] == pytest.approx(2 / 3)
    assert figures["max_score_difference"] == pytest.approx(0.15)
    assert evaluation.parity(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]]))["max_score_difference"] is None
