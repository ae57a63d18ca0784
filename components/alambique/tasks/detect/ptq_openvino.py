"""Post-training quantization by NNCF, for OpenVINO: weights by channel, all of it symmetric, which is a fifth faster
than with zero points."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nncf
import onnx
import openvino

from alambique.tasks.detect.calibration import Inputs
from alambique.tasks.detect.float_tail import CONVOLUTIONS, float_tail
from alambique.tasks.detect.validation import Budget, Validation, mean_average_precision
from alambique.tasks.openvino_models import save_openvino, to_openvino

UNBIASED = "/WithoutBiases"
RANKING_IMAGES = 16
"""The val images, those INT8 hurts most, by which NNCF ranks the layers: it compiles and measures a network for each
of them."""


def export(graph: onnx.ModelProto, path: Path) -> None:
    """Write the graph as OpenVINO's model, in FP32."""
    save_openvino(to_openvino(graph), path)


def quantize(graph: onnx.ModelProto, inputs: Inputs, path: Path) -> None:
    """Quantize all but the tail.

    Args:
        graph: in FP32.
        inputs: to measure the activations on.
        path: where the quantized model's .xml goes, with the .bin beside it.
    """
    model = to_openvino(graph)
    save_openvino(nncf.quantize(model, nncf.Dataset(inputs), **_settings(model, inputs)), path)


def quantize_with_accuracy_control(
    graph: onnx.ModelProto, inputs: Inputs, path: Path, validation: Validation, budget: Budget
) -> list[str]:
    """Quantize, then return to floating point what hurts most, until the model's mAP on val is within the budget.

    Args:
        graph, inputs, path: as of `quantize`.
        validation: judges the model.
        budget: NNCF measures FP32 for itself.
    Returns:
        the convolutions left in floating point, beside the tail's, sorted by name.
    """
    model = to_openvino(graph)
    classes = validation.dataset.classes

    def validate(compiled: openvino.CompiledModel, images: Iterable[Path]) -> tuple[float, list[float]]:
        request = compiled.create_infer_request()
        judged = validation.judge(lambda pixels: request.infer([pixels])[0][0].copy(), images)
        each = [mean_average_precision([one], classes) or 0.0 for one in judged]
        return mean_average_precision(judged, classes) or 0.0, each

    made = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(inputs),
        nncf.Dataset(validation.images),
        validate,
        max_drop=budget.max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=RANKING_IMAGES, num_ranking_workers=1
        ),
        **_settings(model, inputs),
    )
    save_openvino(made, path)
    # Where a bias is added, OpenVINO's conversion lets the convolution before it have a name of its own.
    return sorted(name.removesuffix(UNBIASED) for name in _float_convolutions(made) - set(_tail(model)))


def _settings(model: openvino.Model, inputs: Inputs) -> dict[str, Any]:
    """What both ways to quantize a model share."""
    nncf.set_log_level(logging.ERROR)
    return {
        "preset": nncf.QuantizationPreset.PERFORMANCE,
        "subset_size": len(inputs),
        "ignored_scope": nncf.IgnoredScope(names=_tail(model)),
    }


def _tail(model: openvino.Model) -> list[str]:
    producers = {
        node.get_friendly_name(): (
            node.get_type_name(),
            [value.get_source_output().get_node().get_friendly_name() for value in node.inputs()],
        )
        for node in model.get_ordered_ops()
        if node.get_type_name() != "Constant"
    }
    return float_tail(producers, model.get_results()[0].get_friendly_name())


def _float_convolutions(model: openvino.Model) -> set[str]:
    """The convolutions whose weights are a constant as it is, not one turned from integers."""
    return {
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in CONVOLUTIONS and node.input_value(1).get_node().get_type_name() == "Constant"
    }
