"""What makes a classifier's scores probabilities: a temperature, found on val, that its last layer is divided by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alambique.errors import IntegrityError
from alambique.evaluation.measures import expected_calibration_error
from alambique.tasks.classifiers.validation import HIGHEST, Val, best_temperature, logits_layer

CLASSES, SAMPLES = 5, 4000


def calibrated(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and labels that are drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    log_probabilities = torch.randn(SAMPLES, CLASSES, generator=generator).mul(2).log_softmax(1)
    return log_probabilities, torch.multinomial(log_probabilities.exp(), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 2.0, 8.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    log_probabilities, labels = calibrated()
    assert best_temperature((log_probabilities * factor).log_softmax(1), labels) == pytest.approx(factor, rel=0.1)


def test_a_network_that_is_always_right_on_val_does_not_become_infinitely_sure() -> None:
    labels = torch.arange(CLASSES).repeat(10)
    log_probabilities = nn.functional.one_hot(labels, CLASSES).float().mul(3).log_softmax(1)
    temperature = best_temperature(log_probabilities, labels)
    assert 1 / HIGHEST < temperature < 1
    confidence = (log_probabilities / temperature).softmax(1).max(1).values
    assert 0.95 < confidence.mean() < 0.999


def test_one_sample_is_enough() -> None:
    assert np.isfinite(best_temperature(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([0])))


def network() -> nn.Sequential:
    """Puts out its input tenfold, by a last layer that is preceded by one of the same width."""
    layers = [nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, CLASSES)]
    for layer, factor in zip(layers, (1.0, 10.0), strict=True):
        nn.init.eye_(layer.weight).data.mul_(factor)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def test_the_last_layer_is_scaled_and_no_prediction_changes() -> None:
    inputs, labels = calibrated(1)
    val, model = Val(labels, lambda model: model(inputs).log_softmax(1)), network()
    before, predicted = val.measure(model), val.log_probabilities(model)
    assert val.scale(model) == pytest.approx(10, rel=0.1)
    after = val.measure(model)
    assert after["top1"] == before["top1"]
    assert after["nll"] < before["nll"] / 2
    assert [layer.weight.abs().max().item() for layer in model] == pytest.approx([1, 1], rel=0.1)
    errors = []
    for scores in (predicted, val.log_probabilities(model)):
        confidence, classes = scores.detach().exp().max(1)
        errors.append(expected_calibration_error(confidence.numpy(), (classes == labels).numpy()))
    assert errors[1] < 0.03 < 0.2 < errors[0]


def test_a_network_whose_last_layer_does_not_put_out_the_logits_is_refused() -> None:
    inputs, labels = calibrated(1)
    with pytest.raises(IntegrityError, match="not those of its layer 1"):
        Val(labels, lambda model: (model(inputs) + 5 * inputs).log_softmax(1)).scale(network())


def test_the_logits_layer_is_the_last_that_is_as_wide() -> None:
    assert logits_layer(network(), CLASSES) == "1"
    assert logits_layer(network(), 7) == ""
