"""The sentences that say what distillation was worth, and that a teacher is none."""

from __future__ import annotations

from typing import Any

import pytest
from factories.finished_run import leaderboard, row

from alambique.evaluation.leaderboard import Gain
from alambique.report.distillation import outcome, scope, sentences, teacher_notices, verdict


def gain(value: float, low: float, high: float) -> Gain:
    return {"value": value, "low": low, "high": high, "seeds": 1, "images": 64}


TEACHER = "the teacher has 66.0, 11.0 [+8.0, +13.2] more than the control."
BETTER = gain(0.11, 0.08, 0.132)
NOT_BETTER = gain(-0.026, -0.041, -0.01)


def board(distilled: Gain | None, controls: tuple[float, ...] = (0.55,), **teachers: Gain | None) -> Any:
    """Of a control of these headline metrics, a student and teachers that differ from their mean by so much."""
    control = sum(controls) / len(controls)
    rows = [row(f"pico-control-{seed}", map50_95=value) for seed, value in enumerate(controls)]
    rows.append(row("pico-distilled-0", map50_95=control + (distilled["value"] if distilled else 0)))
    advantages = {f"teacher-{name}": advantage for name, advantage in (teachers or {"main": BETTER}).items()}
    for name, advantage in advantages.items():
        rows.append(row(name, map50_95=control + (advantage["value"] if advantage else 0)))
    known = leaderboard([*rows, row("nano-control-0", map50_95=0.1)])
    gains = {"distillation_gain": {"pico": distilled}, "teacher_advantage": {"pico": advantages}}
    return {**known, **gains, "teacher": next(iter(advantages)), "seeds": list(range(len(controls)))}


@pytest.mark.parametrize(
    ("worth", "text"),
    [
        (
            gain(0.03, 0.012, 0.049),
            "The distilled student pico gains 3.0 points of mAP50-95 [+1.2, +4.9] over the same network trained on "
            f"labels alone (control), 58.0 against 55.0; {TEACHER}",
        ),
        (
            gain(-0.05, -0.07, -0.031),
            "The distilled student pico loses 5.0 points of mAP50-95 [−7.0, −3.1] against the same network trained on "
            f"labels alone (control), 50.0 against 55.0; {TEACHER}",
        ),
        (
            gain(0.004, -0.008, 0.016),
            "Distillation made no clear difference to student pico: +0.4 points of mAP50-95 [−0.8, +1.6] against the "
            f"same network trained on labels alone (control), 55.4 against 55.0; {TEACHER}",
        ),
        (
            None,
            "What distillation is worth to pico is unknown: a distilled student or a control has no mAP50-95 on "
            "today's test split.",
        ),
    ],
)
def test_a_gain_is_called_one_only_where_the_interval_leaves_out_zero(worth: Gain | None, text: str) -> None:
    assert verdict(board(worth), "pico") == text


def test_the_parts_of_the_gain_are_a_second_sentence() -> None:
    known = board(gain(0.338, 0.31, 0.36))
    assert list(sentences(known, "pico")) == [verdict(known, "pico")]
    start = {"of": "start", **gain(0.273, 0.25, 0.29)}
    known["gain_parts"]["pico"] = [start, {"of": "soft labels and unlabelled images", **gain(0.065, -0.01, 0.1)}]
    assert list(sentences(known, "pico")) == [
        verdict(known, "pico"),
        "Of these points: start +27.3 [+25.0, +29.0], soft labels and unlabelled images +6.5 [−1.0, +10.0].",
    ]


@pytest.mark.parametrize(
    ("advantage", "words"),
    [(NOT_BETTER, "; the teacher has 52.4."), (None, "; how the teacher compares is unknown.")],
)
def test_a_teacher_that_is_not_better_is_not_said_to_have_more(advantage: Gain | None, words: str) -> None:
    assert verdict(board(gain(0.03, 0.01, 0.05), main=advantage), "pico").endswith(words)


def test_the_controls_figure_is_the_mean_over_the_seeds() -> None:
    assert "58.0 against 55.0" in verdict(board(gain(0.03, 0.01, 0.05), controls=(0.5, 0.6)), "pico")


def test_a_gain_of_exactly_nothing_is_not_one() -> None:
    assert outcome(gain(0.0, 0.0, 0.0)) == outcome(gain(0.01, 0.0, 0.02)) == outcome(None) == "even"


def test_what_is_shown_as_nothing_is_not_called_a_gain() -> None:
    assert outcome(gain(0.0004, 0.0001, 0.0007)) == "even"
    assert outcome(gain(-0.0006, -0.0009, -0.0001)) == "loss"


def test_a_teacher_that_knows_no_more_than_the_control_is_named_with_what_to_do() -> None:
    assert list(teacher_notices(board(None, controls=(0.245,), main=NOT_BETTER))) == [
        "The teacher knows no more than the control of pico (mAP50-95 21.9 against 24.5, difference −2.6 [−4.1, "
        "−1.0]): there is nothing to distill; train the teacher longer, on more labels, or from better weights."
    ]


def test_a_better_teacher_whose_interval_holds_zero_is_none_as_far_as_so_many_samples_show() -> None:
    (notice,) = teacher_notices(board(None, main=gain(0.02, 0.0, 0.04)))
    assert notice.startswith("As far as 64 test images show, the teacher knows no more than the control of pico (")


def test_of_several_teachers_each_is_judged_by_its_name() -> None:
    (notice,) = teacher_notices(board(None, main=BETTER, other=NOT_BETTER, third=None))
    assert notice.startswith("The teacher other knows no more")
    assert "nothing to distill from it; train the teacher other longer" in notice


def test_a_better_teacher_and_an_unknown_one_get_no_notice() -> None:
    assert list(teacher_notices(board(None, main=BETTER))) == list(teacher_notices(board(None, main=None))) == []


def test_one_seed_says_nothing_about_the_chance_of_training() -> None:
    assert "100 test images only, not the randomness of training" in scope(board(None))
    several = scope({**board(None, controls=(0.1, 0.2, 0.3)), "samples": "texts"})
    assert "all 3 seeds" in several and "100 test texts" in several and "only" not in several
