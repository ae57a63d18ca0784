from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from factories.reference_formulas import plain_kl
from torch import Tensor

from alambique.tasks.yolo.distillation_loss import anneal_factor, tempered_binary_kl, tempered_kl


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


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_tempered_binary_kl_is_the_textbooks_for_every_class(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), 3 * torch.randn(5, 4)
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    expected = sum(plain_kl([own, 0.0], [other, 0.0], temperature) for own, other in pairs)
    assert tempered_binary_kl(student, teacher, temperature).item() == pytest.approx(expected / 5, rel=1e-4)


def test_a_class_that_was_not_kept_is_certainly_absent() -> None:
    student = torch.tensor([[0.0, 3.0]], requires_grad=True)
    divergence = tempered_binary_kl(student, torch.full((1, 2), -math.inf), 1.0)
    assert divergence.item() == pytest.approx(math.log(2) + math.log(1 + math.exp(3)), rel=1e-5)
    (gradient,) = torch.autograd.grad(divergence, student)
    torch.testing.assert_close(gradient, student.detach().sigmoid())


def test_the_temperature_keeps_the_size_of_the_gradients() -> None:
    def slope(temperature: float) -> float:
        student = torch.tensor([[0.02]], requires_grad=True)
        divergence = tempered_binary_kl(student, torch.tensor([[-0.02]]), temperature)
        return torch.autograd.grad(divergence, student)[0].item()

    assert slope(8.0) == pytest.approx(slope(1.0), rel=0.01)


@pytest.mark.parametrize("distance", [tempered_kl, tempered_binary_kl])
def test_without_boxes_the_divergence_is_zero_and_has_a_gradient(distance: Callable[..., Tensor]) -> None:
    student = torch.zeros(0, 4, requires_grad=True)
    divergence = distance(student, torch.zeros(0, 4), 2.0)
    divergence.backward()
    assert divergence.item() == 0


def test_the_teacher_fades_over_the_end_of_the_training() -> None:
    assert [anneal_factor(progress, 0.0) for progress in (0.0, 0.5, 1.0)] == [1, 1, 1]
    assert [anneal_factor(progress, 0.5) for progress in (0.0, 0.5, 0.75, 1.0)] == [1, 1, 0.5, 0]
    assert anneal_factor(0.25, 1.0) == 0.75
