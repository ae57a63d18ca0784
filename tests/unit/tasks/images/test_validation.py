from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from factories.image_views import SIZE

from alambique.tasks.classifiers import evaluation
from alambique.tasks.classifiers.evaluation import Sample
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import ClassifierNetwork, program
from alambique.tasks.images.preprocess import preprocess
from alambique.tasks.images.validation import measure_on_val


def validation_samples(digits: Dataset) -> list[Sample]:
    images = digits.images("val")
    return [Sample(image.name, digits.label(image), partial(preprocess, image, SIZE)) for image in images]


def test_a_program_has_the_accuracy_of_its_module(digits: Dataset, pico: ClassifierNetwork) -> None:
    judged = evaluation.validation(validation_samples(digits))
    headline, correct = judged.score(program(pico.model, 1), judged.samples)
    assert len(correct) == len(digits.images("val"))
    assert headline == pytest.approx(measure_on_val(digits, SIZE)(pico.model)["top1"])
    assert headline == np.mean(correct)


def test_the_module_is_measured_on_what_it_is_given_in_production(digits: Dataset, pico: ClassifierNetwork) -> None:
    predict = program(pico.model, 1)
    samples = validation_samples(digits)
    logits = np.concatenate([predict(sample.read())[0] for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels)
    assert measure_on_val(digits, SIZE)(pico.model)["nll"] == pytest.approx(float(expected), rel=1e-5)


def test_what_is_not_finite_is_wrong(digits: Dataset) -> None:
    judged = evaluation.validation(validation_samples(digits))
    assert judged.headline(lambda _: [np.full((1, 10), np.nan, np.float32)]) == 0
