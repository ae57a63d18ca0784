from __future__ import annotations

from typing import Any

import pytest
import torch
from factories.tiny_bert import NETWORK, TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError
from alambique.tasks.transformers import encoding, models, structured_pruning
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.encoding import Encoded
from alambique.tasks.transformers.prunable import Importance, measure_importance, sizes


@pytest.fixture
def model(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> Any:
    return build(wordpiece, intents.classes)


def scores(model: Any, texts: list[Encoded], tokenizer: PreTrainedTokenizerFast) -> Importance:
    batches = (encoding.collate(part, tokenizer.pad_token_id) for part in encoding.bucket_by_length(texts, 32))
    arguments = (
        ({"input_ids": batch["ids"], "attention_mask": batch["mask"]}, batch["mask"].bool()) for batch in batches
    )
    return measure_importance(model, arguments)


@pytest.mark.parametrize(("how", "ratio"), [("width", 0.1), ("width", 0.2), ("depth", 0.3)])
def test_so_much_is_removed_as_was_asked(model: Any, how: str, ratio: float) -> None:
    kept = structured_pruning.choose(model, how, ratio, TOKENS)
    heads = torch.ones(NETWORK.layers, NETWORK.heads, NETWORK.hidden // NETWORK.heads)
    neurons, layers, hidden = (
        torch.ones(size) for size in ((NETWORK.layers, NETWORK.ffn), NETWORK.layers, NETWORK.hidden)
    )
    even = Importance(heads, heads, neurons, layers, hidden, hidden, {})
    cut = structured_pruning.cut(model, kept, even)
    removed = 1 - models.macs(cut, TOKENS) / models.macs(model, TOKENS)
    assert ratio <= removed < ratio + 0.35 / (1 if how == "depth" else 2)
    assert cut.config.num_hidden_layers == kept.layers
    assert cut.config.intermediate_size == kept.ffn


def test_more_than_there_is_cannot_be_removed(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="multiply-accumulates by width is more than can go"):
        structured_pruning.choose(model, "width", 0.9, TOKENS)


def test_neurons_that_do_nothing_go_first(model: Any, intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    idle = torch.arange(0, NETWORK.ffn, 2)
    for layer in model.bert.encoder.layer:
        layer.output.dense.weight.data[:, idle] = 0
    texts = encoding.encode_labelled(intents, "train", wordpiece, TOKENS)
    matters = scores(model, texts, wordpiece)
    cut = structured_pruning.cut(model, sizes(model)._replace(ffn=NETWORK.ffn // 2), matters)
    ids = torch.from_numpy(texts[0].ids[None])
    torch.testing.assert_close(models.class_logits(cut, ids), models.class_logits(model, ids), atol=1e-5, rtol=1e-4)


def test_layers_that_turn_nothing_go_first(model: Any, intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    idle = model.bert.encoder.layer[1]
    for part in (idle.attention.output.dense, idle.output.dense):
        part.weight.data.zero_()
        part.bias.data.zero_()
    texts = encoding.encode_labelled(intents, "train", wordpiece, TOKENS)
    matters = scores(model, texts, wordpiece)
    assert matters.layers.argmin() == 1
    cut = structured_pruning.cut(model, sizes(model)._replace(layers=NETWORK.layers - 1), matters)
    ids = torch.from_numpy(texts[0].ids[None])
    torch.testing.assert_close(models.class_logits(cut, ids), models.class_logits(model, ids), atol=1e-4, rtol=1e-3)


def test_importance_does_not_hang_on_what_fills_up_batches(
    model: Any, intents: Texts, wordpiece: PreTrainedTokenizerFast
) -> None:
    texts = encoding.encode_labelled(intents, "train", wordpiece, TOKENS)
    whole = scores(model, texts, wordpiece)
    parts = [scores(model, [text], wordpiece) for text in texts]
    tokens = torch.tensor([len(text.ids) for text in texts], dtype=torch.float)
    mean = (torch.stack([part.layers for part in parts]) * tokens[:, None]).sum(0) / tokens.sum()
    torch.testing.assert_close(whole.layers, mean, atol=1e-5, rtol=1e-3)
