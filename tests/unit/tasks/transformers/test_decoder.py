from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from alambique import runtimes
from alambique.errors import ConfigurationError
from alambique.runtimes.base import Exportable, WeightOnly
from alambique.tasks.transformers import export
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.export import Decoder, checked_decoder, require_llama

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 32,
}
IDS = torch.tensor([[1, 40, 7, 99, 250, 3, 3, 80]])


@pytest.fixture(scope="module")
def network(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Exportable:
    return export.decoder(Network(llama, tokenizer), 48)


@torch.inference_mode()
def test_it_computes_what_the_library_does_in_one_step_or_several(llama: PreTrainedModel) -> None:
    expected = llama(IDS).logits
    decoder = Decoder(llama, expected.shape[-1])
    nothing = torch.zeros(3, 2, 0, 8)
    whole, _, _ = decoder(IDS, nothing, nothing)
    assert torch.allclose(whole, expected, atol=1e-4)
    first, keys, values = decoder(IDS[:, :5], nothing, nothing)
    second, keys, values = decoder(IDS[:, 5:7], keys, values)
    third, keys, _ = decoder(IDS[:, 7:], keys, values)
    assert torch.allclose(torch.cat((first, second, third), 1), expected, atol=1e-4)
    assert keys.shape == (3, 2, 8, 8)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_artifacts_compute_it_too(llama: PreTrainedModel, network: Exportable, runtime: str, tmp_path: Path) -> None:
    kind = runtimes.load(runtime)
    kind.write(network, tmp_path / kind.file)
    program = kind.open(tmp_path / kind.file, 1)
    expected, empty = llama(IDS).logits.detach().numpy(), np.zeros((3, 2, 0, 8), np.float32)
    first, keys, values = program(IDS[:, :7].numpy(), empty, empty)
    second, _, _ = program(IDS[:, 7:].numpy(), keys, values)
    assert np.abs(np.concatenate((first, second), 1) - expected).max() < 1e-3


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_fewer_bits_are_near_and_small(
    llama: PreTrainedModel, network: Exportable, runtime: str, bits: int, tmp_path: Path
) -> None:
    kind = runtimes.load(runtime)
    path = tmp_path / kind.file
    kind.quantize(network, WeightOnly(bits, embedding="embedding"), path)
    weights = path if runtime == "onnx" else path.with_suffix(".bin")
    logits, _, _ = kind.open(path, 1)(IDS.numpy(), *[np.zeros((3, 2, 0, 8), np.float32)] * 2)
    one, other = torch.from_numpy(logits).softmax(-1), llama(IDS).logits.detach().softmax(-1)
    assert float((one - other).abs().max()) < {8: 0.1, 4: 0.6}[bits]
    assert weights.stat().st_size < len(network.graph().SerializeToString()) * 0.7


def test_a_graph_says_nothing_of_this_machine(network: Exportable) -> None:
    content = network.graph().SerializeToString()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[4]).encode() not in content


@pytest.mark.slow  # test_export has the same of a classifier
def test_equal_weights_give_an_equal_graph(
    llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, network: Exportable
) -> None:
    again = export.decoder(Network(llama, tokenizer), 48).graph()
    assert again.SerializeToString() == network.graph().SerializeToString()


def test_other_architectures_are_refused() -> None:
    other = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(ConfigurationError, match="a GPT2LMHeadModel cannot be pruned: only networks built as a Llama"):
        require_llama(other, "pruned")


def test_modules_of_the_same_names_do_not_make_a_llama() -> None:
    """A Qwen3 also normalises queries and keys."""
    other: Any = Qwen3ForCausalLM(Qwen3Config(**SIZES)).eval()
    with pytest.raises(ConfigurationError, match="a Qwen3ForCausalLM cannot be exported"):
        checked_decoder(other, 60, 32)


@pytest.mark.parametrize(
    "model",
    [
        MistralForCausalLM(MistralConfig(**SIZES)),
        Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    ],
    ids=["mistral", "qwen2"],
)
def test_relatives_of_the_llama_are_exported(model: Any) -> None:
    assert checked_decoder(model.eval(), 60, 32).kv_heads == 2


def test_a_llama_that_computes_something_else_is_refused() -> None:
    model: Any = LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu")).eval()
    for parameter in model.parameters():  # as initialised, both activations are all but linear
        parameter.data.mul_(8)
    with pytest.raises(ConfigurationError, match=r"LlamaForCausalLM cannot be exported: .* differs from the model by"):
        checked_decoder(model, 60, 32)


def test_a_window_shorter_than_the_texts_is_refused() -> None:
    model: Any = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)).eval()
    with pytest.raises(ConfigurationError, match="attends to the last 8 tokens cannot be exported for texts of 32"):
        checked_decoder(model, 60, 32)
