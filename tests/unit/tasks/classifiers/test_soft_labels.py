from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from alambique.config.classify import Distill
from alambique.errors import IntegrityError
from alambique.tasks.classifiers import soft_labels
from alambique.tasks.classifiers.soft_labels import ClassLabels, ClassRecipe
from alambique.tasks.images.task import CLASSIFY

RECIPE = ClassRecipe(
    teachers=["a" * 64], combine="average", data={}, preprocessing={}, top_k=3, classes=["cat", "dog", "eel", "fox"]
)


def row(views: int = 2) -> tuple[ClassLabels, torch.Tensor]:
    log_probabilities = torch.randn(views, 4, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    return soft_labels.keep("train/cat/a.png", log_probabilities, range(7, 7 + views), RECIPE), log_probabilities


def test_a_row_has_the_layout_of_its_recipe_and_all_the_mass() -> None:
    labels, log_probabilities = row()
    assert RECIPE.layout().names == list(ClassLabels._fields)
    assert labels.log_probabilities.shape == labels.classes.shape == (2, RECIPE.width)
    mass = np.exp(labels.log_probabilities.astype(float)).sum(1) + np.exp(labels.log_remaining_mass.astype(float))
    assert mass == pytest.approx(1, abs=1e-3)
    assert (labels.classes[:, 0] == log_probabilities.argmax(1).numpy()).all()


def test_several_teachers_are_averaged_as_probabilities() -> None:
    teachers = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    assert torch.allclose(soft_labels.average(teachers).exp(), torch.tensor([[0.7, 0.3]]))


def test_targets_are_those_of_the_view_and_of_no_other() -> None:
    labels, log_probabilities = row()
    targets = soft_labels.view_targets({labels.sample: labels}, labels.sample, 1, 8)
    assert targets["log_probabilities"] == pytest.approx(log_probabilities[1].topk(3).values.numpy(), abs=1e-2)
    with pytest.raises(IntegrityError, match=r"view 1 of train/cat/a\.png is not the one"):
        soft_labels.view_targets({labels.sample: labels}, labels.sample, 1, 7)
    with pytest.raises(IntegrityError, match="no soft labels for train/cat/b"):
        soft_labels.view_targets({}, "train/cat/b.png", 0, 7)


def test_a_student_that_agrees_has_no_divergence() -> None:
    teacher = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    whole = RECIPE.model_copy(update={"classes": ["cat", "dog", "eel"]})
    labels = soft_labels.keep("a", teacher, [0, 1], whole)
    targets = [soft_labels.view_targets({"a": labels}, "a", view, view) for view in range(2)]
    batch = {name: torch.from_numpy(np.stack([target[name] for target in targets])) for name in targets[0]}
    distill = Distill(temperature=2.0, weight=1.0)

    def divergence(student: torch.Tensor) -> float:
        parts = soft_labels.distillation_loss(student, batch, distill, lambda logits, batch: logits.sum())
        assert parts.keys() == {"divergence"}
        return float(parts["divergence"])

    assert divergence(teacher) == pytest.approx(0, abs=1e-4)
    assert divergence(teacher.flip(1)) > 0.01


def test_a_teacher_of_other_classes_is_refused() -> None:
    params = SimpleNamespace(teachers=["main"], soft_labels=SimpleNamespace(top_k=2))
    data: Any = SimpleNamespace(has="train".__eq__, digest=str.upper)
    cards = [{"classes": ["cat"], "sha256": "0" * 64}]
    assert soft_labels.base_recipe(cards, data, params, ["cat"])["data"] == {"train": "TRAIN"}
    with pytest.raises(IntegrityError, match="the teacher main knows the classes"):
        soft_labels.base_recipe(cards, data, params, ["cat", "dog"])


def test_mean_probabilities_are_over_views() -> None:
    labels, log_probabilities = row()
    expected = log_probabilities.exp().mean(0).numpy()
    assert soft_labels.mean_probabilities(labels, 4) == pytest.approx(expected, abs=2e-3)


def test_a_shards_metrics_are_means_over_views() -> None:
    labels, _ = row()
    totals = CLASSIFY.row_totals(labels)
    metrics = CLASSIFY.shard_metrics([("train/cat/a.png", totals), ("unlabelled/b.png", totals)])
    assert (metrics["images"], metrics["unlabelled_images"], metrics["views"]) == (2, 1, 4)
    assert metrics["mean_confidence"] == pytest.approx(np.exp(labels.log_probabilities[:, 0].astype(float)).mean())
    assert metrics["mean_remaining_mass"] == pytest.approx(np.exp(labels.log_remaining_mass.astype(float)).mean())
