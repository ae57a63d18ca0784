from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError, IntegrityError
from alambique.tasks.text import folders
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding, network
from alambique.tasks.text_classify.soft_labels import answers


def test_equal_seeds_give_equal_weights(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    models = [build(wordpiece, asked.classes, seed) for seed in (0, 0, 1)]
    first, again, other = (model.classifier.weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_fills_up_a_batch_changes_no_answer(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    model = build(wordpiece, asked.classes)
    own = encoding.labelled(asked, "test", wordpiece, TOKENS)
    together = dict(answers(model, own, wordpiece.pad_token_id))
    for each in own:
        alone = network.logits(model, torch.from_numpy(each.ids[None])).log_softmax(1)[0]
        torch.testing.assert_close(together[each.name], alone, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_comes_back(asked: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build(wordpiece, asked.classes)
    folders.save(model, wordpiece, tmp_path)
    card = network.write_card(tmp_path, "teacher", model, wordpiece, asked.classes, TOKENS, "0" * 64)
    loaded, tokenizer = network.load(tmp_path)
    ids = torch.arange(5, 12)[None]
    torch.testing.assert_close(network.logits(loaded, ids), network.logits(model, ids))
    assert tokenizer.get_vocab() == wordpiece.get_vocab()
    assert network.classes_of(tmp_path / folders.MODEL) == asked.classes
    assert card["parameters"] == folders.parameters(model)
    weights = tmp_path / folders.MODEL / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        network.load(tmp_path)


def test_another_head_is_made_anew(asked: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folders.save(build(wordpiece, ["yes", "no"]), wordpiece, tmp_path)
    inner = tmp_path / folders.MODEL
    first, again = (network.open_folder(inner, wordpiece, asked.classes, TOKENS, seed).state_dict() for seed in (3, 3))
    assert len(first["classifier.weight"]) == len(asked.classes)
    assert torch.equal(first["classifier.weight"], again["classifier.weight"])


def test_what_cannot_be_read_is_refused(asked: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folders.save(build(wordpiece, asked.classes), wordpiece, tmp_path)
    with pytest.raises(ConfigurationError, match="input_size: 99"):
        network.open_folder(tmp_path / folders.MODEL, wordpiece, asked.classes, 99, 0)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no config\.json"):
        network.open_folder(empty, wordpiece, asked.classes, TOKENS, 0)
    (empty / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="no encoder of texts"):
        network.open_folder(empty, wordpiece, asked.classes, TOKENS, 0)
