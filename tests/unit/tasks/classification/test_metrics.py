from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from alambique.tasks.classification import metrics

CLASSES = ["cat", "dog", "wolf", "fox", "bear", "owl", "elk"]


def random(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    chances = generator.dirichlet(np.full(len(CLASSES), 0.4), n)
    return chances, generator.integers(len(CLASSES), size=n)


def test_the_figures_are_scikit_learns() -> None:
    chances, truth = random()
    found = metrics.summarize(chances, truth, CLASSES)
    labels = range(len(CLASSES))
    assert found["top1"] == pytest.approx(top_k_accuracy_score(truth, chances, k=1, labels=labels))
    assert found["top5"] == pytest.approx(top_k_accuracy_score(truth, chances, k=5, labels=labels))
    assert found["nll"] == pytest.approx(log_loss(truth, chances.clip(1e-12), labels=labels), rel=1e-3)
    assert set(found) == {*metrics.MEASURES, *metrics.BY_CLASS}


def test_recall_is_by_class_and_unknown_without_samples() -> None:
    chances = np.eye(7)[[0, 0, 1, 2]]
    found = metrics.summarize(chances, np.array([0, 1, 1, 2]), CLASSES)
    assert found["recall"] == {"cat": 1.0, "dog": 0.5, "wolf": 1.0, "fox": None, "bear": None, "owl": None, "elk": None}


def test_calibration_error_by_hand() -> None:
    # Four of confidence 0.9 of which two are right, four of 0.3 of which one is: |0.9 − 0.5| and |0.3 − 0.25|, halved.
    confidence = np.array([0.9] * 4 + [0.3] * 4)
    right = np.array([True, True, False, False, True, False, False, False])
    assert metrics.calibration_error(confidence, right) == pytest.approx((0.4 + 0.05) / 2)
    assert metrics.calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_what_is_no_number_is_wrong() -> None:
    chances = np.array([[np.nan, 0, 1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0]])
    found = metrics.summarize(chances, np.array([2, 0]), CLASSES)
    assert found["top1"] == found["top5"] == 0.5
    assert np.isfinite(found["nll"])


def test_confusion_counts_what_is_taken_for_what() -> None:
    counts = metrics.confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
