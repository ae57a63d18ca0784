from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.errors import ConfigurationError, DataError, IntegrityError
from alambique.files import write_json
from alambique.layout import CARD
from alambique.tasks.cards import read_card
from alambique.tasks.transformers import checkpoint, encoding, models
from alambique.tasks.transformers.checkpoint import MODEL, Network
from alambique.tasks.transformers.class_objectives import predict
from alambique.tasks.transformers.classifier import TEXT_CLASSIFY
from alambique.tasks.transformers.dataset import Texts


def test_equal_seeds_give_equal_weights(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    first, again, other = (build(wordpiece, intents.classes, seed).classifier.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_padding_changes_no_prediction(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    model = build(wordpiece, intents.classes)
    texts = encoding.encode_labelled(intents, "test", wordpiece, TOKENS)
    together = predict(model, texts, wordpiece.pad_token_id)
    for text, log_probabilities in zip(texts, together, strict=True):
        alone = models.class_logits(model, torch.from_numpy(text.ids[None])).log_softmax(1)[0]
        torch.testing.assert_close(log_probabilities, alone, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_comes_back(intents: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build(wordpiece, intents.classes)
    checkpoint.save(Network(model, wordpiece), tmp_path)
    loaded = TEXT_CLASSIFY.load(tmp_path)
    ids = torch.arange(5, 12)[None]
    torch.testing.assert_close(models.class_logits(loaded.model, ids), models.class_logits(model, ids))
    assert loaded.tokenizer.get_vocab() == wordpiece.get_vocab()
    assert models.classes_of(tmp_path / MODEL) == intents.classes
    described = checkpoint.describe(tmp_path, loaded)
    assert described["parameters"] == checkpoint.parameters(model)
    write_json(tmp_path / CARD, described)
    assert read_card(tmp_path)["vocabulary"] == len(wordpiece)
    weights = tmp_path / MODEL / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        read_card(tmp_path)


def test_another_head_is_initialised(intents: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    checkpoint.save(Network(build(wordpiece, ["yes", "no"]), wordpiece), tmp_path)
    first, again = (models.load_classifier(tmp_path / MODEL, intents.classes, seed).state_dict() for seed in (3, 3))
    assert len(first["classifier.weight"]) == len(intents.classes)
    assert torch.equal(first["classifier.weight"], again["classifier.weight"])


def test_what_cannot_be_read_is_refused(intents: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build(wordpiece, intents.classes)
    with pytest.raises(ConfigurationError, match="input_size: 99"):
        checkpoint.require_fit(model, tmp_path, wordpiece, 99)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no config\.json"):
        models.load_classifier(empty, intents.classes, 0)
    (empty / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="no weights of an encoder"):
        models.load_classifier(empty, intents.classes, 0)
