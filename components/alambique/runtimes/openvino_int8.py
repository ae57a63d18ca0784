"""Post-training quantization of OpenVINO's models by NNCF: static, with or without accuracy control, or weights alone.

All symmetric is a fifth faster than with zero points.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import nncf
import openvino

from alambique.runtimes.base import StaticInt8, Validation, WeightOnly
from alambique.runtimes.openvino import program

CONVOLUTIONS = {"Convolution", "GroupConvolution"}
UNBIASED = "/WithoutBiases"
RANKING_SAMPLES = 16
"""The val samples, those that lose most by INT8, by which NNCF ranks the layers: it compiles and measures a network for
each of them."""
BLOCK = 32
"""Weights of 4 bits that share a scale."""


def static(model: openvino.Model, how: StaticInt8) -> openvino.Model:
    """A model in INT8: weights by channel, activations by their ranges on `how.inputs`.

    NNCF chooses the operators. Its `model_type` TRANSFORMER is left out even for transformers, whose quantized
    embeddings OpenVINO would refuse to load.
    """
    return nncf.quantize(model, nncf.Dataset(how.inputs), **_settings(model, how))


def static_with_accuracy_control(
    model: openvino.Model, how: StaticInt8, validation: Validation, max_drop: float
) -> tuple[openvino.Model, list[str]]:
    """As `static`, but what costs most stays in floating point, until the headline metric falls by `max_drop` at most.

    Returns:
        the model; names of the convolutions left in floating point, beside those of `how.float_nodes`, sorted.
    """

    def validate(compiled: openvino.CompiledModel, samples: Iterable[Any]) -> tuple[float, list[float]]:
        return validation.score(program(compiled), samples)

    result = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(how.inputs),
        nncf.Dataset(validation.samples),
        validate,
        max_drop=max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            ranking_subset_size=RANKING_SAMPLES, num_ranking_workers=1
        ),
        **_settings(model, how),
    )
    # Where a bias is added, OpenVINO's conversion lets the convolution before it have a name of its own.
    layers = sorted(name.removesuffix(UNBIASED) for name in _float_convolutions(result) - set(_float_nodes(model, how)))
    return result, layers


def weight_only(model: openvino.Model, how: WeightOnly) -> openvino.Model:
    """A model with weights of 8 bits and a scale for each row, or of 4 bits and a scale for every `BLOCK` of them.

    Embeddings are among them, without being named.
    """
    if how.bits == 8:
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        group_size=BLOCK,
        ratio=1.0,
        all_layers=True,
        advanced_parameters=nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
        ),
    )


def _settings(model: openvino.Model, how: StaticInt8) -> dict[str, Any]:
    """What both ways of static quantization share."""
    nncf.set_log_level(logging.ERROR)
    preset = nncf.QuantizationPreset.PERFORMANCE if how.symmetric else nncf.QuantizationPreset.MIXED
    excluded = {"ignored_scope": nncf.IgnoredScope(names=_float_nodes(model, how))} if how.float_nodes else {}
    return {"preset": preset, "subset_size": len(how.inputs), **excluded}


def _float_nodes(model: openvino.Model, how: StaticInt8) -> list[str]:
    if how.float_nodes is None:
        return []
    sources = {
        node.get_friendly_name(): (
            node.get_type_name(),
            [value.get_source_output().get_node().get_friendly_name() for value in node.inputs()],
        )
        for node in model.get_ordered_ops()
        if node.get_type_name() != "Constant"
    }
    return how.float_nodes(sources, model.get_results()[0].get_friendly_name())


def _float_convolutions(model: openvino.Model) -> set[str]:
    """The convolutions whose weights are a constant as it is, not one turned from integers."""
    return {
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in CONVOLUTIONS and node.input_value(1).get_node().get_type_name() == "Constant"
    }
