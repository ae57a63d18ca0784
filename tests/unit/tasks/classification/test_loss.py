from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alambique.tasks.classification.loss import dense, tempered_kl


def keep(log_probabilities: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a cache keeps of a teacher."""
    top = log_probabilities.topk(k, 1)
    left = log_probabilities.scatter(1, top.indices, -torch.inf).logsumexp(1).clamp(min=-6e4)
    return top.values, top.indices, left


def exact(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    target = (teacher / temperature).log_softmax(1)
    return temperature**2 * (target.exp() * (target - (student / temperature).log_softmax(1))).sum(1).mean()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([1.0, 2.0, 4.0]))
def test_with_all_classes_it_is_exact(seed: int, classes: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(4, classes, generator=generator) for _ in "ab")
    found = float(tempered_kl(student, *keep(teacher.log_softmax(1), classes), temperature))
    assert found == pytest.approx(float(exact(student, teacher, temperature)), rel=1e-4, abs=1e-5)


def test_what_was_not_kept_is_spread_evenly() -> None:
    teacher = torch.tensor([[0.7, 0.2, 0.04, 0.06]]).log()
    found = dense(*keep(teacher, 2), 4).exp()
    assert torch.allclose(found, torch.tensor([[0.7, 0.2, 0.05, 0.05]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_at_temperature_1_the_student_that_says_the_same_has_no_divergence(seed: int) -> None:
    teacher = torch.randn(3, 9, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
    kept = keep(teacher, 4)
    assert float(tempered_kl(dense(*kept, 9), *kept, 1.0)) == pytest.approx(0, abs=1e-5)
    assert float(tempered_kl(dense(*kept, 9), *kept, 3.0)) == pytest.approx(0, abs=1e-5)


def test_its_gradient_pulls_towards_the_teacher() -> None:
    student = torch.zeros(1, 3, requires_grad=True)
    tempered_kl(student, *keep(torch.tensor([[0.8, 0.15, 0.05]]).log(), 3), 2.0).backward()
    assert student.grad is not None
    assert student.grad.argmin() == 0
