from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, top_k_accuracy_score

from alambique.tasks.classifiers import metrics

CLASSES = ["cat", "dog", "wolf", "fox", "bear", "owl", "elk"]


def random(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(len(CLASSES), 0.4), n)
    return probabilities, generator.integers(len(CLASSES), size=n)


def test_the_figures_are_scikit_learns() -> None:
    probabilities, labels = random()
    figures = metrics.summarize(probabilities, labels, CLASSES)
    indices = range(len(CLASSES))
    assert figures["top1"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1, labels=indices))
    assert figures["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=indices))
    assert figures["nll"] == pytest.approx(log_loss(labels, probabilities.clip(1e-12), labels=indices), rel=1e-3)
    assert set(figures) == {*metrics.MEASURES, *metrics.BY_CLASS}


def test_recall_is_by_class_and_unknown_without_samples() -> None:
    probabilities = np.eye(7)[[0, 0, 1, 2]]
    figures = metrics.summarize(probabilities, np.array([0, 1, 1, 2]), CLASSES)
    assert figures["recall"] == {
        "cat": 1.0,
        "dog": 0.5,
        "wolf": 1.0,
        "fox": None,
        "bear": None,
        "owl": None,
        "elk": None,
    }


def test_what_is_not_finite_is_wrong() -> None:
    probabilities = np.array([[np.nan, 0, 1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0]])
    figures = metrics.summarize(probabilities, np.array([2, 0]), CLASSES)
    assert figures["top1"] == figures["top5"] == 0.5
    assert np.isfinite(figures["nll"])


def test_confusion_counts_predictions_by_label() -> None:
    counts = metrics.confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
