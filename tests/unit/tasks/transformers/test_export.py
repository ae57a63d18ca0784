from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique import runtimes
from alambique.runtimes.base import DynamicInt8, Exportable, Quantization, StaticInt8
from alambique.tasks.transformers import encoding, export, models
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts


@pytest.fixture(scope="module")
def model(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> Any:
    return build(wordpiece, intents.classes)


@pytest.fixture(scope="module")
def network(model: Any, wordpiece: PreTrainedTokenizerFast) -> Exportable:
    return export.classifier(Network(model, wordpiece), TOKENS)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_texts_of_any_length_are_predicted_as_by_the_checkpoint(
    intents: Texts,
    wordpiece: PreTrainedTokenizerFast,
    model: Any,
    network: Exportable,
    runtime: str,
    precision: str,
    tmp_path: Path,
) -> None:
    texts = encoding.encode_labelled(intents, "train", wordpiece, TOKENS)
    kind = runtimes.load(runtime)
    if precision == "fp32":
        kind.write(network, tmp_path / kind.file)
    else:
        static = StaticInt8([text.ids[None] for text in texts], operators=(), symmetric=False)
        how: Quantization = DynamicInt8() if runtime == "onnx" else static
        kind.quantize(network, how, tmp_path / kind.file)
    program = kind.open(tmp_path / kind.file, 1)
    assert len({len(text.ids) for text in texts}) > 3
    for text in texts:
        expected = models.class_logits(model, torch.from_numpy(text.ids[None])).detach().numpy()
        (logits,) = program(text.ids[None])
        np.testing.assert_allclose(logits, expected, atol=1e-5 if precision == "fp32" else 0.02)


def test_equal_weights_give_an_equal_graph_without_places_of_this_machine(
    model: Any, wordpiece: PreTrainedTokenizerFast, network: Exportable
) -> None:
    graph, again = network.graph(), export.classifier(Network(model, wordpiece), TOKENS).graph()
    assert again.SerializeToString(deterministic=True) == graph.SerializeToString(deterministic=True)
    assert b".py" not in graph.SerializeToString()
