from __future__ import annotations

import math

import pytest
import torch
from factories.reference_formulas import evenly_filled, kl, largest, merged, plain_kl, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alambique.softlabels import topk
from alambique.softlabels.topk import LOG_PROB_FLOOR, TopK

SEEDS = st.integers(0, 10_000)
TEMPERATURES = st.sampled_from([0.5, 1.0, 2.0, 4.0])


def pair(seed: int, classes: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Teacher's and student's logits, (4, classes)."""
    teacher, student = scale * torch.randn(2, 4, classes, generator=torch.Generator().manual_seed(seed))
    return teacher, student


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_likeliest_are_kept_and_the_others_summed_up() -> None:
    kept = topk.keep(torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log(), 2)
    assert kept.indices.tolist() == [[1, 3]]
    assert kept.values.exp().tolist() == [pytest.approx([0.6, 0.25])]
    assert kept.log_remaining_mass.exp().tolist() == pytest.approx([0.15])


def test_the_others_are_summed_up_at_the_temperature() -> None:
    kept = topk.keep(torch.tensor([[0.1, 0.6, 0.05, 0.25]]).log(), 2, temperature=2.0)
    assert kept.values.exp().tolist() == [pytest.approx([0.6, 0.25])]
    assert kept.log_remaining_mass.exp().tolist() == pytest.approx([0.1**0.5 + 0.05**0.5])


def test_nothing_left_and_impossible_classes_stay_finite_in_half_precision() -> None:
    kept = topk.keep(torch.tensor([[0.0, -torch.inf, -torch.inf]]), 5)
    assert kept.values.shape == (1, 3)
    assert kept.log_remaining_mass.tolist() == [LOG_PROB_FLOOR]
    assert bool(torch.cat((kept.values, kept.log_remaining_mass[:, None]), -1).half().isfinite().all())


def test_a_teacher_that_is_not_a_number_is_kept_as_such() -> None:
    assert bool(topk.keep(torch.full((1, 4), torch.nan), 2).values.isnan().all())


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 8))
def test_densify_spreads_the_remaining_mass_evenly(seed: int, k: int) -> None:
    teacher, _ = pair(seed, 9)
    dense = topk.densify(topk.keep(teacher.log_softmax(-1), k), 9).exp()
    for row, logits in zip(dense.tolist(), teacher.tolist(), strict=True):
        probabilities = softmax(logits)
        assert row == pytest.approx(evenly_filled(probabilities, largest(probabilities, k)), rel=1e-4, abs=1e-7)


def test_densify_gives_back_what_was_kept_whole() -> None:
    whole = pair(0, 6)[0].log_softmax(-1)
    assert torch.equal(topk.densify(topk.keep(whole, 6), 6), whole)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(2, 12), TEMPERATURES)
def test_with_all_classes_the_divergence_is_exact(seed: int, classes: int, temperature: float) -> None:
    teacher, student = pair(seed, classes)
    divergence = topk.kl_divergence(student, *topk.keep(teacher.log_softmax(-1), classes), temperature)
    exact = [
        plain_kl(of_student, of_teacher, temperature)
        for of_student, of_teacher in zip(student.tolist(), teacher.tolist(), strict=True)
    ]
    assert float(divergence) == pytest.approx(mean(exact), rel=1e-4, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 9), TEMPERATURES)
def test_it_is_the_divergence_of_merged_events(seed: int, k: int, temperature: float) -> None:
    """With the remainder spread evenly before it is softened, as `temper_mass` says."""
    teacher, student = pair(seed, 10)
    divergence = topk.kl_divergence(student, *topk.keep(teacher.log_softmax(-1), k), temperature)
    expected = []
    for logits, of_teacher in zip(student.tolist(), teacher.tolist(), strict=True):
        kept = largest(softmax(of_teacher), k)
        flattened = [math.log(value) for value in evenly_filled(softmax(of_teacher), kept)]
        both = (merged(softmax(values, temperature), kept) for values in (flattened, logits))
        expected.append(temperature**2 * kl(*both))
    assert float(divergence) == pytest.approx(mean(expected), rel=1e-3, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 9), TEMPERATURES)
def test_a_mass_kept_at_the_temperature_needs_no_assumption(seed: int, k: int, temperature: float) -> None:
    teacher, student = pair(seed, 10)
    values, indices, mass = topk.keep(teacher.log_softmax(-1), k, temperature)
    divergence = topk.kl(
        topk.teacher_events(values, mass, temperature), topk.student_events(student, indices, temperature)
    )
    for value, logits, of_teacher in zip(divergence.tolist(), student.tolist(), teacher.tolist(), strict=True):
        kept = largest(softmax(of_teacher), k)
        exact = kl(softmax(of_teacher, temperature), softmax(logits, temperature))
        expected = kl(merged(softmax(of_teacher, temperature), kept), merged(softmax(logits, temperature), kept))
        assert value == pytest.approx(expected, rel=1e-3, abs=1e-5)
        assert value <= exact * (1 + 1e-4) + 1e-5  # data processing inequality


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 8))
def test_at_temperature_1_the_bound_rises_with_k(seed: int, k: int) -> None:
    teacher, student = pair(seed, 10)
    fewer, more = (
        float(topk.kl_divergence(student, *topk.keep(teacher.log_softmax(-1), count), 1.0)) for count in (k, k + 1)
    )
    assert -1e-6 <= fewer <= more + 1e-5


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 9), st.sampled_from([1.0, 2.0, 4.0]))
def test_the_tempered_mass_is_an_upper_bound(seed: int, k: int, temperature: float) -> None:
    teacher = pair(seed, 10)[0].log_softmax(-1)
    estimate = topk.temper_mass(topk.keep(teacher, k).log_remaining_mass, 10 - k, temperature)
    assert bool((estimate >= topk.keep(teacher, k, temperature).log_remaining_mass - 1e-5).all())


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_agrees_has_no_divergence_and_no_gradient(temperature: float) -> None:
    kept = topk.keep(pair(1, 9)[0].log_softmax(-1), 4)
    student = topk.densify(kept, 9).requires_grad_()
    divergence = topk.kl_divergence(student, *kept, temperature)
    divergence.backward()
    assert float(divergence) == pytest.approx(0, abs=1e-5)
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-5


@pytest.mark.parametrize("k", [1, 3, 12])
def test_confident_teachers_and_students_keep_gradients_finite(k: int) -> None:
    teacher, student = pair(2, 12, scale=200.0)
    student.requires_grad_()
    values, indices, mass = (
        column.half() if column.is_floating_point() else column for column in topk.keep(teacher.log_softmax(-1), k)
    )
    divergence = topk.kl_divergence(student, values, indices, mass, 2.0)
    divergence.backward()
    assert math.isfinite(float(divergence))
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())


def test_its_gradient_pulls_towards_the_teacher() -> None:
    student = torch.zeros(1, 3, requires_grad=True)
    topk.kl_divergence(student, *topk.keep(torch.tensor([[0.8, 0.15, 0.05]]).log(), 2), 2.0).backward()
    assert student.grad is not None
    assert student.grad.argmin() == 0


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9))
def test_pairs_are_compared_over_the_teachers_events(seed: int, k: int, students_k: int) -> None:
    # In double precision: the reference takes the remaining mass as 1 minus the kept, which may be 1e-5 and less.
    teacher, student = (logits.double().log_softmax(-1) for logits in pair(seed, 10))
    divergence = topk.pairwise_kl(topk.keep(teacher, k), topk.keep(student, students_k), 10)
    for value, of_teacher, of_student in zip(
        divergence.tolist(), teacher.exp().tolist(), student.exp().tolist(), strict=True
    ):
        kept = largest(of_teacher, k)
        known = evenly_filled(of_student, largest(of_student, students_k))
        assert value == pytest.approx(kl(merged(of_teacher, kept), merged(known, kept)), rel=1e-3, abs=1e-5)


def test_pairs_kept_whole_are_compared_exactly_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "CHUNK", 3)
    teacher, student = (logits.log_softmax(-1) for logits in pair(5, 7))
    divergence = topk.pairwise_kl(topk.keep(teacher, 7), topk.keep(student, 7), 7)
    expected = [
        kl(of_teacher, of_student)
        for of_teacher, of_student in zip(teacher.exp().tolist(), student.exp().tolist(), strict=True)
    ]
    assert divergence.tolist() == pytest.approx(expected, rel=1e-4)


def test_half_precision_and_any_integers_are_taken() -> None:
    kept = topk.keep(pair(6, 7)[0].log_softmax(-1), 3)
    half = TopK(kept.values.half(), kept.indices.int(), kept.log_remaining_mass.half())
    assert topk.pairwise_kl(half, half, 7).tolist() == pytest.approx([0.0] * 4, abs=1e-12)
