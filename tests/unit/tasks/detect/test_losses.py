from __future__ import annotations

import math

import pytest
import torch
from textbook import plain_kl

from alambique.tasks.detect.losses import strength, tempered_kl


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_tempered_kl_is_the_textbooks(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), 3 * torch.randn(5, 4)
    expected = [plain_kl(*row, temperature) for row in zip(student.tolist(), teacher.tolist(), strict=True)]
    assert tempered_kl(student, teacher, temperature).item() == pytest.approx(sum(expected) / 5, rel=1e-5)


def test_a_class_the_teacher_did_not_keep_has_no_mass() -> None:
    student = torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
    divergence = tempered_kl(student, torch.tensor([[1.0, -math.inf, 0.0]]), 2.0)
    assert divergence.item() == pytest.approx(plain_kl([0.5, -1.0, 2.0], [1.0, -math.inf, 0.0], 2.0), rel=1e-5)
    (gradient,) = torch.autograd.grad(divergence, student)
    assert gradient.isfinite().all()


def test_equal_distributions_do_not_diverge() -> None:
    logits = torch.randn(3, 4)
    assert tempered_kl(logits, logits + 7, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_without_boxes_the_divergence_is_zero_and_has_a_gradient() -> None:
    student = torch.zeros(0, 4, requires_grad=True)
    divergence = tempered_kl(student, torch.zeros(0, 4), 2.0)
    divergence.backward()
    assert divergence.item() == 0


def test_the_teacher_fades_over_the_end_of_the_training() -> None:
    assert [strength(progress, 0.0) for progress in (0.0, 0.5, 1.0)] == [1, 1, 1]
    assert [strength(progress, 0.5) for progress in (0.0, 0.5, 0.75, 1.0)] == [1, 1, 0.5, 0]
    assert strength(0.25, 1.0) == 0.75
