from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alambique.errors import DataError
from alambique.files import read_json
from alambique.tasks.classifiers import evaluation, results


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
    measurement = evaluation.measurement(["a", "b", "c"], np.array([0, 1, 1]), probabilities, ["cat", "dog"])
    assert measurement.metrics["images"] == 3
    assert measurement.metrics["top1"] == pytest.approx(2 / 3)
    measurement.write(tmp_path)
    assert results.read(tmp_path).correct.tolist() == [True, True, False]
    assert read_json(tmp_path / evaluation.CONFUSION) == {"classes": ["cat", "dog"], "counts": [[1, 0], [1, 1]]}
