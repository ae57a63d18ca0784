from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding, network
from alambique.tasks.text_classify.export import to_onnx
from alambique.tasks.text_classify.predict import open_artifact
from alambique.tasks.text_classify.quantize import to_onnx_int8, to_openvino_int8


@pytest.fixture(scope="module")
def model(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> Any:
    return build(wordpiece, asked.classes)


@pytest.fixture(scope="module")
def graph(model: Any) -> onnx.ModelProto:
    return to_onnx(model, TOKENS)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_texts_of_any_length_are_answered_as_by_the_checkpoint(
    asked: Texts,
    wordpiece: PreTrainedTokenizerFast,
    model: Any,
    graph: onnx.ModelProto,
    runtime: str,
    precision: str,
    tmp_path: Path,
) -> None:
    own = encoding.labelled(asked, "train", wordpiece, TOKENS)
    path = tmp_path / {"onnx": "model.onnx", "openvino": "model.xml"}[runtime]
    if runtime == "onnx":
        onnx.save(to_onnx_int8(graph) if precision == "int8" else graph, path)
    else:
        save_openvino(to_openvino_int8(graph, own) if precision == "int8" else to_openvino(graph), path)
    predict = open_artifact(path, runtime, 1)
    assert len({len(each.ids) for each in own}) > 3
    for each in own:
        expected = network.logits(model, torch.from_numpy(each.ids[None])).detach().numpy()
        np.testing.assert_allclose(predict(each.ids[None]), expected, atol=1e-5 if precision == "fp32" else 0.02)


def test_equal_weights_give_an_equal_graph_without_places_of_this_machine(model: Any, graph: onnx.ModelProto) -> None:
    again = to_onnx(model, TOKENS)
    assert again.SerializeToString(deterministic=True) == graph.SerializeToString(deterministic=True)
    assert b".py" not in graph.SerializeToString()
