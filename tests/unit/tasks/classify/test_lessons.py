from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from factories.image_views import SIZE, cache, recipe

from alambique.config.classify import Augment, Distill, Mix
from alambique.errors import IntegrityError
from alambique.tasks.classify import lessons, soft_labels
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.lessons import UNKNOWN
from alambique.tasks.classify.network import Checkpoint
from alambique.tasks.classify.preprocess import planes
from alambique.tasks.training_loop import Batch, Lesson


def batch(lesson: Lesson, epoch: int) -> Batch:
    shown = lesson.at(epoch)
    return lesson.collate([shown[place] for place in range(len(shown))])


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_the_student_sees_the_very_view_that_the_teacher_labelled(digits: Dataset, pico: Checkpoint, mix: Mix) -> None:
    made = recipe(digits, mix)
    heard = cache(digits, made, pico)
    lesson = lessons.by_soft_labels(digits, heard, made, Distill())
    names = soft_labels.pool(digits, made).names
    for epoch in range(3):
        shown = batch(lesson, epoch)
        assert len(shown["image"]) == 30  # labelled and unlabelled
        with torch.inference_mode():
            said = pico.model(shown["image"].float() / 255).log_softmax(1)
        for place, name in enumerate(names):
            row = heard[name]
            number = epoch % 2
            assert shown["logits"][place].tolist() == row.logits[number].astype(np.float32).tolist()
            # Half precision of a log-probability.
            own = said[place][torch.from_numpy(row.classes[number].astype(np.int64))]
            assert own.tolist() == pytest.approx(row.logits[number].tolist(), abs=0.01)


def test_a_view_that_the_teacher_did_not_see_is_refused(digits: Dataset, pico: Checkpoint) -> None:
    made = recipe(digits)
    heard = cache(digits, made, pico)
    name = soft_labels.pool(digits, made).names[0]
    changed = heard | {name: heard[name]._replace(checksums=heard[name].checksums + 1)}
    lesson = lessons.by_soft_labels(digits, changed, made, Distill())
    with pytest.raises(IntegrityError, match=f"view 0 of {name} is not the one that the teacher saw"):
        lesson.at(0)[0]


def test_images_that_nobody_labelled_take_part_without_a_label(digits: Dataset, pico: Checkpoint) -> None:
    made = recipe(digits)
    lesson = lessons.by_soft_labels(digits, cache(digits, made, pico), made, Distill())
    labels = batch(lesson, 0)["label"].tolist()
    assert labels[:20] == [digits.label(image) for image in digits.images("train")]
    assert labels[20:] == [UNKNOWN] * 10


def test_a_student_that_answers_as_its_teacher_has_no_divergence(digits: Dataset, pico: Checkpoint) -> None:
    made = recipe(digits)
    how = Distill(weight=1.0)
    lesson = lessons.by_soft_labels(digits, cache(digits, made, pico), made, how)
    with torch.inference_mode():
        parts = lesson.loss(pico.model, batch(lesson, 0))
    assert parts.keys() == {"divergence"}
    assert parts["divergence"].item() == pytest.approx(0, abs=1e-4)


def test_the_control_sees_each_labelled_image_equally_often_and_each_time_anew(digits: Dataset) -> None:
    lesson = lessons.by_label(digits, SIZE, Augment(), length=60)
    shown = [lesson.at(epoch) for epoch in range(2)]
    places = [place for each in shown for place in each.places]  # type: ignore[attr-defined]
    assert len(places) == len(set(places)) == 120
    assert {index for index, _ in places} == set(range(20))


def test_both_labels_of_a_mixed_view_count_in_their_shares() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    mixed = {
        "label": torch.tensor([0, 0, UNKNOWN]),
        "other": torch.tensor([0, 1, UNKNOWN]),
        "share": torch.tensor([1.0, 0.75, 1.0]),
    }
    first, second = math.log(2), 0.75 * math.log(1 + math.exp(-2)) + 0.25 * math.log(1 + math.exp(2))
    assert lessons.cross_entropy(logits, mixed).item() == pytest.approx((first + second) / 2)
    nobody = {"label": mixed["label"][2:], "other": mixed["other"][2:], "share": mixed["share"][2:]}
    assert lessons.cross_entropy(logits[2:], nobody).item() == 0


def test_several_teachers_probabilities_are_averaged(digits: Dataset, pico: Checkpoint) -> None:
    images = torch.from_numpy(np.stack([planes(np.full((SIZE, SIZE, 3), grey, np.uint8)) for grey in (10, 200)]))
    other = pico.model.__class__(pico.model.body, normalise=True).eval()
    with torch.inference_mode():
        expected = (pico.model(images).softmax(1) + other(images).softmax(1)) / 2
    found = soft_labels.expect([pico.model, other], images).exp()
    assert found.tolist() == [pytest.approx(row, abs=1e-6) for row in expected.tolist()]


def test_what_is_not_kept_is_kept_as_one_sum(digits: Dataset, pico: Checkpoint) -> None:
    for top_k in (3, 10):
        for row in cache(digits, recipe(digits, top_k=top_k), pico).values():
            total = np.exp(row.logits.astype(float)).sum(axis=1) + np.exp(row.rest.astype(float))
            assert total.tolist() == pytest.approx([1, 1], abs=2e-3)
            assert np.isfinite(row.rest).all()
