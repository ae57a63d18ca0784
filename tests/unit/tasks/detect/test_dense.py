"""What is kept of the teachers' dense outputs is what they answered, at the anchors they are surest of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tiny import CLASSES, NETWORK

from alambique.errors import DataError
from alambique.softlabels.schema import BRANCHES
from alambique.tasks.detect import dense, network
from alambique.tasks.detect.dense import Answers

OUTPUTS = 84  # 8² + 4² + 2² anchors at 64 pixels
KEPT, WIDTH = 12, 3


def answers(seed: int, views: int = 2) -> Answers:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(views, len(BRANCHES), OUTPUTS, len(CLASSES), generator=generator) * 3
    return Answers(logits, torch.rand(views, len(BRANCHES), OUTPUTS, 4, generator=generator) * 20)


def batch(given: Answers) -> dict[str, torch.Tensor]:
    soft = dense.pack("train/x.png", [0, 0], given, KEPT, WIDTH)
    items = [dense.unpack(soft, view, len(CLASSES)) for view in range(2)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def close_in_half(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((found == expected.half().float()).all())


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_kept_anchors_are_the_surest_and_everything_stands_where_it_stood(branch: str) -> None:
    given, number = answers(0), BRANCHES.index(branch)
    found = dense.scatter(batch(given), branch, OUTPUTS)
    for view in range(2):
        logits, boxes = given.logits[view, number], given.boxes[view, number]
        surest = set(logits.amax(1).argsort(descending=True)[:KEPT].tolist())
        assert set(found.kept[view].nonzero()[:, 0].tolist()) == surest
        for anchor in range(OUTPUTS):
            kept = torch.full((len(CLASSES),), -torch.inf)
            if anchor in surest:
                likeliest = logits[anchor].argsort(descending=True)[:WIDTH]
                kept[likeliest] = logits[anchor, likeliest]
                assert close_in_half(found.boxes[view, anchor], boxes[anchor])
            else:
                assert not found.boxes[view, anchor].any()
            assert close_in_half(found.logits[view, anchor], kept)


def test_kept_anchors_stand_surest_first() -> None:
    best = batch(answers(0))[dense.LOGITS].amax(-1)
    assert (best.diff(dim=-1) <= 0).all()


def reference(
    teachers: Sequence[Answers], experts: Sequence[int] | None, place: tuple[int, ...]
) -> tuple[list[float], list[float]]:
    """One anchor's logits and box by the plainest route."""
    logits = [teacher.logits[place].tolist() for teacher in teachers]
    if experts is None:
        means = [sum(1 / (1 + np.exp(-each[index])) for each in logits) / len(logits) for index in range(len(CLASSES))]
        mixed = [float(np.log(mean / (1 - mean))) for mean in means]
        owner = max(range(len(teachers)), key=lambda number: max(logits[number]))
    else:
        mixed = [logits[expert][index] for index, expert in enumerate(experts)]
        owner = experts[int(np.argmax(mixed))]
    return mixed, teachers[owner].boxes[place].tolist()


@pytest.mark.parametrize("experts", [None, [0, 1, 1, 0, 0, 1, 0, 1, 1, 0]])
def test_several_teachers_are_one_anchor_by_anchor(experts: list[int] | None) -> None:
    teachers = [answers(0), answers(1)]
    mixed = dense.combine(teachers, experts)
    for place in [(0, 0, 3), (1, 1, 80), (0, 1, 41), (1, 0, 0)]:
        logits, box = reference(teachers, experts, place)
        np.testing.assert_allclose(mixed.logits[place].numpy(), logits, rtol=1e-4, atol=1e-5)
        assert mixed.boxes[place].tolist() == box


def test_a_lone_teacher_is_taken_as_it_is() -> None:
    teacher = answers(0)
    assert dense.combine([teacher], None) is teacher


def test_a_certain_teachers_mean_stays_finite() -> None:
    certain = Answers(torch.full((1, 2, 3, 2), 200.0), torch.zeros(1, 2, 3, 4))
    assert dense.combine([certain, certain], None).logits.isfinite().all()


def test_a_teacher_answers_with_both_branches() -> None:
    model = network.build(NETWORK, CLASSES, seed=0).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = dense.answer(model, images)
    assert found.logits.shape == (3, 2, OUTPUTS, len(CLASSES))
    with torch.inference_mode():
        heads = model(images)[1]
    for number, branch in enumerate(BRANCHES):
        torch.testing.assert_close(found.boxes[:, number], heads[branch]["boxes"].permute(0, 2, 1))
        torch.testing.assert_close(found.logits[:, number], heads[branch]["scores"].permute(0, 2, 1))


def test_a_fused_teacher_is_refused() -> None:
    model = network.build(NETWORK, CLASSES, seed=0).eval()
    model.end2end = True
    with pytest.raises(DataError, match="one2many"):
        dense.answer(model.fuse(verbose=False), torch.zeros(1, 3, 64, 64))
