from __future__ import annotations

import math

import pytest
import torch
from textbook import plain_kl

from alambique.tasks.detect.losses import (
    box_distance,
    quality_focus,
    strength,
    tempered_binary_kl,
    tempered_kl,
)


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


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_tempered_binary_kl_is_the_textbooks_for_every_class(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), 3 * torch.randn(5, 4)

    def plain(own: float, other: float) -> float:
        q, p = sigmoid(own / temperature), sigmoid(other / temperature)
        return temperature**2 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))

    expected = [
        [plain(*pair) for pair in zip(*rows, strict=True)]
        for rows in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    torch.testing.assert_close(
        tempered_binary_kl(student, teacher, temperature), torch.tensor(expected), atol=1e-5, rtol=1e-4
    )


def test_a_class_that_was_not_kept_is_certainly_absent() -> None:
    student = torch.tensor([0.0, 3.0], requires_grad=True)
    divergence = tempered_binary_kl(student, torch.tensor([-math.inf, -math.inf]), 1.0)
    torch.testing.assert_close(divergence, torch.tensor([math.log(2), -math.log(1 - sigmoid(3.0))]))
    (gradient,) = torch.autograd.grad(divergence.sum(), student)
    torch.testing.assert_close(gradient, student.detach().sigmoid())


def test_the_temperature_keeps_the_size_of_the_gradients() -> None:
    def slope(temperature: float) -> float:
        student = torch.tensor([0.02], requires_grad=True)
        divergence = tempered_binary_kl(student, torch.tensor([-0.02]), temperature).sum()
        return torch.autograd.grad(divergence, student)[0].item()

    assert slope(8.0) == pytest.approx(slope(1.0), rel=0.01)


def test_what_is_learned_already_is_out_of_focus() -> None:
    student, teacher = torch.tensor([0.0, 2.0, -9.0], requires_grad=True), torch.tensor([0.0, 2.0, 9.0])
    focus = quality_focus(student, teacher)
    assert focus.tolist() == pytest.approx([0, 0, sigmoid(9) - sigmoid(-9)])
    assert not focus.requires_grad


def test_box_distance_weighs_each_box_by_its_score() -> None:
    teacher = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]])
    student = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [1, 0, 3, 2]])
    # IoU 1/2 and distance of the centres 0.5² over the diagonal 8; the aspect's share by CIoU's definition
    aspect = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    low = 1 / 2 - (0.25 / 8 + aspect * aspect / (aspect - 1 / 2 + 1))
    moved = 1 / 3 - 1 / 13
    expected = 0.5 * (1 - low) + 0.25 * (1 - moved)
    assert box_distance(student, teacher, torch.tensor([1.0, 0.5, 0.25])).item() == pytest.approx(expected, abs=1e-4)
    assert box_distance(student, teacher, torch.zeros(3)).item() == 0


def test_the_teacher_fades_over_the_end_of_the_training() -> None:
    assert [strength(progress, 0.0) for progress in (0.0, 0.5, 1.0)] == [1, 1, 1]
    assert [strength(progress, 0.5) for progress in (0.0, 0.5, 0.75, 1.0)] == [1, 1, 0.5, 0]
    assert strength(0.25, 1.0) == 0.75
