from __future__ import annotations

from typing import Any

import pytest
import torch
from factories.tiny_bert import NETWORK, TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding, network, smaller
from alambique.tasks.text_classify.smaller import Importance, Sizes


@pytest.fixture
def model(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> Any:
    return build(wordpiece, asked.classes)


@pytest.mark.parametrize(("how", "share"), [("width", 0.1), ("width", 0.2), ("depth", 0.3)])
def test_so_much_is_removed_as_was_asked(model: Any, how: str, share: float) -> None:
    kept = smaller.choose(model, how, share, TOKENS)
    even = Importance(torch.ones(NETWORK.layers, NETWORK.ffn), torch.ones(NETWORK.layers))
    cut = smaller.cut(model, kept, even)
    removed = 1 - network.macs(cut, TOKENS) / network.macs(model, TOKENS)
    assert share <= removed < share + 0.35 / (1 if how == "depth" else 2)
    assert cut.config.num_hidden_layers == kept.layers
    assert cut.config.intermediate_size == kept.ffn


def test_more_than_there_is_cannot_be_removed(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="choose how: depth"):
        smaller.choose(model, "width", 0.9, TOKENS)


def test_neurons_that_do_nothing_go_first(model: Any, asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    idle = torch.arange(0, NETWORK.ffn, 2)
    for layer in model.bert.encoder.layer:
        layer.output.dense.weight.data[:, idle] = 0
    own = encoding.labelled(asked, "train", wordpiece, TOKENS)
    matters = smaller.importance(model, own, wordpiece.pad_token_id)
    cut = smaller.cut(model, Sizes(NETWORK.layers, NETWORK.ffn // 2), matters)
    ids = torch.from_numpy(own[0].ids[None])
    torch.testing.assert_close(network.logits(cut, ids), network.logits(model, ids), atol=1e-5, rtol=1e-4)


def test_layers_that_turn_nothing_go_first(model: Any, asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    idle = model.bert.encoder.layer[1]
    for part in (idle.attention.output.dense, idle.output.dense):
        part.weight.data.zero_()
        part.bias.data.zero_()
    own = encoding.labelled(asked, "train", wordpiece, TOKENS)
    matters = smaller.importance(model, own, wordpiece.pad_token_id)
    assert matters.layers.argmin() == 1
    cut = smaller.cut(model, Sizes(NETWORK.layers - 1, NETWORK.ffn), matters)
    ids = torch.from_numpy(own[0].ids[None])
    torch.testing.assert_close(network.logits(cut, ids), network.logits(model, ids), atol=1e-4, rtol=1e-3)


def test_importance_does_not_hang_on_what_fills_up_batches(
    model: Any, asked: Texts, wordpiece: PreTrainedTokenizerFast
) -> None:
    own = encoding.labelled(asked, "train", wordpiece, TOKENS)
    whole = smaller.importance(model, own, wordpiece.pad_token_id)
    parts = [smaller.importance(model, [each], wordpiece.pad_token_id) for each in own]
    tokens = torch.tensor([len(each.ids) for each in own], dtype=torch.float)
    mean = (torch.stack([each.layers for each in parts]) * tokens[:, None]).sum(0) / tokens.sum()
    torch.testing.assert_close(whole.layers, mean, atol=1e-5, rtol=1e-3)
