from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alambique.softlabels import topk
from alambique.tasks.transformers.objectives import divergence, next_token

KINDS = ["forward", "reverse", "jsd"]


def dense(teacher: Tensor, student: Tensor, kind: str, beta: float) -> float:
    """The divergence over the whole vocabulary, by its definition."""
    p, q = teacher.double().softmax(-1), student.double().softmax(-1)

    def kl(first: Tensor, second: Tensor) -> Tensor:
        return (first * (first / second).log()).sum(-1).mean()

    mixed = beta * p + (1 - beta) * q
    return float(
        {"forward": kl(p, q), "reverse": kl(q, p), "jsd": beta * kl(p, mixed) + (1 - beta) * kl(q, mixed)}[kind]
    )


def kept(teacher: Tensor, student: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Both sides' events where k of the teacher's tokens are kept."""
    top = topk.keep(teacher.log_softmax(-1), k, temperature)
    return (
        topk.teacher_events(top.values, top.log_remaining_mass, temperature),
        topk.student_events(student, top.indices, temperature),
    )


def pair(seed: int, vocabulary: int = 30, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    teacher, student = torch.randn(2, 8, vocabulary, generator=chance) * scale
    return teacher, student


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_exact_where_every_token_is_kept(kind: str, temperature: float) -> None:
    teacher, student = pair(0)
    value = divergence(*kept(teacher, student, 30, temperature), kind, 0.3)
    assert float(value) == pytest.approx(dense(teacher / temperature, student / temperature, kind, 0.3), rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 29),
    temperature=st.floats(0.5, 4),
    kind=st.sampled_from(KINDS),
    beta=st.floats(0.05, 0.95),
)
def test_it_is_a_lower_bound_that_grows_with_what_is_kept(
    seed: int, k: int, temperature: float, kind: str, beta: float
) -> None:
    teacher, student = pair(seed)
    less, more = (float(divergence(*kept(teacher, student, n, temperature), kind, beta)) for n in (k, k + 1))
    whole = dense(teacher / temperature, student / temperature, kind, beta)
    assert -1e-5 <= less <= more + 1e-5
    assert more <= whole * (1 + 1e-4) + 1e-5


def test_what_is_missed_is_the_rests_own_divergence() -> None:
    teacher, student = pair(3)
    of_kept = float(divergence(*kept(teacher, student, 5, 1.0), "forward"))
    p, q = teacher.double().softmax(-1), student.double().softmax(-1)
    rest = torch.ones_like(p, dtype=torch.bool).scatter(-1, teacher.topk(5, -1).indices, False)
    inside = torch.tensor(
        [
            float(a[r].sum() * ((a[r] / a[r].sum()) * ((a[r] / a[r].sum()) / (b[r] / b[r].sum())).log()).sum())
            for a, b, r in zip(p, q, rest, strict=True)
        ]
    )
    assert dense(teacher, student, "forward", 0.5) - of_kept == pytest.approx(float(inside.mean()), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_zero_with_no_gradient_where_both_agree(kind: str) -> None:
    teacher, _ = pair(1)
    student = teacher.clone().requires_grad_()
    value = divergence(*kept(teacher, student, 7, 1.0), kind)
    value.backward()
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_sure_students_and_teachers_keep_gradients_finite(kind: str) -> None:
    teacher, student = pair(2, scale=60.0)
    student.requires_grad_()
    value = divergence(*kept(teacher, student, 4, 1.0), kind)
    value.backward()
    assert math.isfinite(float(value))
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())


def test_forward_and_reverse_are_the_limits_of_jsd() -> None:
    sides = kept(*pair(4, scale=1.0), 10, 1.0)
    forward, reverse = (float(divergence(*sides, kind)) for kind in ("forward", "reverse"))
    assert float(divergence(*sides, "jsd", 1e-4)) / 1e-4 == pytest.approx(forward, rel=0.02)
    assert float(divergence(*sides, "jsd", 1 - 1e-4)) / 1e-4 == pytest.approx(reverse, rel=0.02)


def test_next_token_counts_the_loss_mask_alone() -> None:
    chance = torch.Generator().manual_seed(0)
    logits, ids = torch.randn(2, 5, 11, generator=chance), torch.randint(0, 11, (2, 5), generator=chance)
    loss_mask = torch.zeros(2, 5, dtype=torch.bool)
    loss_mask[0, 2] = loss_mask[1, 4] = True
    expected = -(logits[0, 1].log_softmax(-1)[ids[0, 2]] + logits[1, 3].log_softmax(-1)[ids[1, 4]]) / 2
    assert float(next_token(logits, ids, loss_mask)) == pytest.approx(float(expected), rel=1e-5)
