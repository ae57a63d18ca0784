from __future__ import annotations

import json

import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.config.text_classify import Params
from alambique.tasks.transformers import pretraining
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.dataset import Texts


def test_masked_tokens_train_the_encoder_itself(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    model = build(wordpiece, intents.classes)
    words = model.bert.embeddings.word_embeddings.weight.detach().clone()
    head = model.classifier.weight.detach().clone()
    before = pretraining.pretrain(Network(model, wordpiece), intents, _params(), 4)
    assert not torch.equal(model.bert.embeddings.word_embeddings.weight, words)
    assert torch.equal(model.classifier.weight, head)
    assert torch.equal(
        before.initial_state["bert.embeddings.word_embeddings.weight"], model.get_input_embeddings().weight
    )
    again = build(wordpiece, intents.classes)
    pretraining.pretrain(Network(again, wordpiece), intents, _params(), 4)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)


def _params() -> Params:
    content = {
        "project": "asked",
        "input_size": TOKENS,
        "students": ["small"],
        "runtimes": ["onnx"],
        "networks": {"small": {"layers": 2, "hidden": 16, "heads": 2, "ffn": 32}},
        "teachers": ["main"],
        "teacher": {"main": {}},
        "training": {"batch": 8, "learning_rate": 0.003},
    }
    return Params.model_validate_json(json.dumps(content))
