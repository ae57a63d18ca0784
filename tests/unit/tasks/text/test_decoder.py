from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from alambique.errors import ConfigurationError
from alambique.tasks.openvino_models import save_openvino, to_openvino
from alambique.tasks.text.decoder import Decoder, require_llama
from alambique.tasks.text.export import to_onnx
from alambique.tasks.text.predict import open_artifact
from alambique.tasks.text.quantize import to_onnx_bits, to_openvino_bits

IDS = torch.tensor([[1, 40, 7, 99, 250, 3, 3, 80]])


@pytest.fixture(scope="module")
def graph(still: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> onnx.ModelProto:
    return to_onnx(still, len(tokenizer))


@torch.inference_mode()
def test_it_computes_what_the_library_does_in_one_step_or_several(still: PreTrainedModel) -> None:
    expected = still(IDS).logits
    decoder = Decoder(still, expected.shape[-1])
    nothing = torch.zeros(3, 2, 0, 8)
    whole, _, _ = decoder(IDS, nothing, nothing)
    assert torch.allclose(whole, expected, atol=1e-4)
    first, keys, values = decoder(IDS[:, :5], nothing, nothing)
    second, keys, values = decoder(IDS[:, 5:7], keys, values)
    third, keys, _ = decoder(IDS[:, 7:], keys, values)
    assert torch.allclose(torch.cat((first, second, third), 1), expected, atol=1e-4)
    assert keys.shape == (3, 2, 8, 8)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_artifacts_compute_it_too(still: PreTrainedModel, graph: onnx.ModelProto, runtime: str, tmp_path: Path) -> None:
    path = tmp_path / {"onnx": "model.onnx", "openvino": "model.xml"}[runtime]
    onnx.save(graph, path) if runtime == "onnx" else save_openvino(to_openvino(graph), path)
    artifact = open_artifact(path, runtime, 1, (3, 2, 8))
    expected = still(IDS).logits.detach().numpy()
    first, keys, values = artifact.step(IDS[:, :7].numpy(), *artifact.nothing())
    second, _, _ = artifact.step(IDS[:, 7:].numpy(), keys, values)
    assert np.abs(np.concatenate((first, second), 1) - expected).max() < 1e-3


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_fewer_bits_are_near_and_small(
    still: PreTrainedModel, graph: onnx.ModelProto, runtime: str, bits: int, tmp_path: Path
) -> None:
    path = tmp_path / {"onnx": "model.onnx", "openvino": "model.xml"}[runtime]
    weights = path if runtime == "onnx" else path.with_suffix(".bin")
    if runtime == "onnx":
        onnx.save(to_onnx_bits(graph, bits), path)
    else:
        to_openvino_bits(graph, bits, path)
    found, _, _ = open_artifact(path, runtime, 1, (3, 2, 8)).step(
        IDS.numpy(), *[np.zeros((3, 2, 0, 8), np.float32)] * 2
    )
    one, other = torch.from_numpy(found).softmax(-1), still(IDS).logits.detach().softmax(-1)
    assert float((one - other).abs().max()) < {8: 0.1, 4: 0.6}[bits]
    assert weights.stat().st_size < len(graph.SerializeToString()) * 0.7


def test_equal_weights_give_equal_files_that_say_nothing_of_this_machine(
    still: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, graph: onnx.ModelProto
) -> None:
    content = graph.SerializeToString()
    assert to_onnx(still, len(tokenizer)).SerializeToString() == content
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[4]).encode() not in content


def test_other_architectures_are_refused() -> None:
    other = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(ConfigurationError, match="a GPT2LMHeadModel cannot be pruned: only networks built as a Llama"):
        require_llama(other, "pruned")
