from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from factories.image_views import SIZE, cache, recipe
from torch import nn

from alambique.config.classify import Augment, Distill, Mix
from alambique.errors import IntegrityError
from alambique.tasks.classifiers import evaluation
from alambique.tasks.classifiers.evaluation import Sample
from alambique.tasks.classifiers.soft_labels import UNLABELLED
from alambique.tasks.images import objectives, soft_labels
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import ClassifierNetwork
from alambique.tasks.images.objectives import val
from alambique.tasks.images.preprocess import planes, preprocess
from alambique.tasks.training_loop import Batch, TrainingObjective


def batch(objective: TrainingObjective, epoch: int) -> Batch:
    samples = objective.epoch_dataset(epoch)
    return objective.collate([samples[index] for index in range(len(samples))])


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
def test_the_student_is_given_the_very_view_that_the_teacher_labelled(
    digits: Dataset, pico: ClassifierNetwork, mix: Mix
) -> None:
    drawn = recipe(digits, mix)
    labels = cache(digits, drawn, pico)
    objective = objectives.by_soft_labels(digits, labels, drawn, Distill())
    names = soft_labels.views_of_all(digits, drawn).names
    for epoch in range(3):
        shown = batch(objective, epoch)
        assert len(shown["image"]) == 30  # labelled and unlabelled
        with torch.inference_mode():
            predicted = pico.model(shown["image"].float() / 255).log_softmax(1)
        for place, name in enumerate(names):
            row = labels[name]
            kept = row.log_probabilities[epoch % 2]
            assert shown["log_probabilities"][place].tolist() == kept.astype(np.float32).tolist()
            # Half precision of a log-probability.
            of_kept = predicted[place][torch.from_numpy(row.classes[epoch % 2].astype(np.int64))]
            assert of_kept.tolist() == pytest.approx(kept.tolist(), abs=0.01)


def test_a_view_that_the_teachers_were_not_given_is_refused(digits: Dataset, pico: ClassifierNetwork) -> None:
    drawn = recipe(digits)
    labels = cache(digits, drawn, pico)
    name = soft_labels.views_of_all(digits, drawn).names[0]
    changed = labels | {name: labels[name]._replace(checksums=labels[name].checksums + 1)}
    objective = objectives.by_soft_labels(digits, changed, drawn, Distill())
    with pytest.raises(IntegrityError, match=f"view 0 of {name} is not the one that the teachers were given"):
        objective.epoch_dataset(0)[0]


def test_unlabelled_images_take_part_without_a_label(digits: Dataset, pico: ClassifierNetwork) -> None:
    drawn = recipe(digits)
    objective = objectives.by_soft_labels(digits, cache(digits, drawn, pico), drawn, Distill())
    labels = batch(objective, 0)["label"].tolist()
    assert labels[:20] == [digits.label(image) for image in digits.images("train")]
    assert labels[20:] == [UNLABELLED] * 10


def test_a_student_that_agrees_with_its_teacher_has_no_divergence(digits: Dataset, pico: ClassifierNetwork) -> None:
    drawn = recipe(digits)
    how = Distill(weight=1.0)
    objective = objectives.by_soft_labels(digits, cache(digits, drawn, pico), drawn, how)
    with torch.inference_mode():
        parts = objective.loss(pico.model, batch(objective, 0))
    assert parts.keys() == {"divergence"}
    assert parts["divergence"].item() == pytest.approx(0, abs=1e-4)


def test_the_control_is_given_the_labelled_images_in_every_epoch_anew(digits: Dataset) -> None:
    objective = objectives.by_labels(digits, SIZE, Augment())
    first, second, again = (batch(objective, epoch)["image"] for epoch in (0, 1, 0))
    assert len(first) == 20
    assert all((one != other).any() for one, other in zip(first, second, strict=True))
    assert torch.equal(first, again)


def test_both_labels_of_a_mixed_view_count_in_their_shares() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    mixed = {
        "label": torch.tensor([0, 0, UNLABELLED]),
        "other": torch.tensor([0, 1, UNLABELLED]),
        "share": torch.tensor([1.0, 0.75, 1.0]),
    }
    first, second = math.log(2), 0.75 * math.log(1 + math.exp(-2)) + 0.25 * math.log(1 + math.exp(2))
    assert objectives.cross_entropy(logits, mixed).item() == pytest.approx((first + second) / 2)
    nobody = {"label": mixed["label"][2:], "other": mixed["other"][2:], "share": mixed["share"][2:]}
    assert objectives.cross_entropy(logits[2:], nobody).item() == 0


def test_several_teachers_probabilities_are_averaged(digits: Dataset, pico: ClassifierNetwork) -> None:
    images = torch.from_numpy(np.stack([planes(np.full((SIZE, SIZE, 3), grey, np.uint8)) for grey in (10, 200)]))
    other = pico.model.__class__(pico.model.body, normalise=True).eval()
    with torch.inference_mode():
        expected = (pico.model(images).softmax(1) + other(images).softmax(1)) / 2
    averaged = soft_labels.predict([pico.model, other], images).exp()
    assert averaged.tolist() == [pytest.approx(row, abs=1e-6) for row in expected.tolist()]


def test_what_is_not_kept_is_kept_as_one_sum(digits: Dataset, pico: ClassifierNetwork) -> None:
    for top_k in (3, 10):
        for row in cache(digits, recipe(digits, top_k=top_k), pico).values():
            total = np.exp(row.log_probabilities.astype(float)).sum(axis=1) + np.exp(
                row.log_remaining_mass.astype(float)
            )
            assert total.tolist() == pytest.approx([1, 1], abs=2e-3)
            assert np.isfinite(row.log_remaining_mass).all()


def validation_samples(digits: Dataset) -> list[Sample]:
    images = digits.images("val")
    return [Sample(image.name, digits.label(image), partial(preprocess, image, SIZE)) for image in images]


def predict(model: nn.Module, images: np.ndarray) -> list[np.ndarray]:
    return [model(torch.from_numpy(images)).detach().numpy()]


def test_a_program_has_the_accuracy_of_its_module(digits: Dataset, pico: ClassifierNetwork) -> None:
    validation = evaluation.validation(validation_samples(digits))
    headline, correct = validation.score(partial(predict, pico.model), validation.samples)
    assert len(correct) == len(digits.images("val"))
    assert headline == pytest.approx(val(digits, SIZE).measure(pico.model)["top1"])
    assert headline == np.mean(correct)


def test_the_module_is_measured_on_what_it_is_given_in_production(digits: Dataset, pico: ClassifierNetwork) -> None:
    samples = validation_samples(digits)
    logits = np.concatenate([predict(pico.model, sample.read())[0] for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    expected = nn.functional.cross_entropy(torch.from_numpy(logits), labels)
    assert val(digits, SIZE).measure(pico.model)["nll"] == pytest.approx(float(expected), rel=1e-5)


def test_what_is_not_finite_is_wrong(digits: Dataset) -> None:
    validation = evaluation.validation(validation_samples(digits))
    assert validation.headline(lambda _: [np.full((1, 10), np.nan, np.float32)]) == 0
