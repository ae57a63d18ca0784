from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.config.text_classify import Distill, Params, Training
from alambique.errors import DataError, IntegrityError
from alambique.tasks import training_loop
from alambique.tasks.text.data import Text, Texts, write
from alambique.tasks.text_classify import encoding, lessons, measuring, network, pretraining
from alambique.tasks.text_classify.cache import TextLabels, TextRecipe, keep

TRAINING = Training(batch=8, learning_rate=0.003)


def recipe(data: Texts, top_k: int = 100) -> TextRecipe:
    return TextRecipe(
        teachers=["0" * 64], combine="average", data={}, preprocessing={}, top_k=top_k, classes=data.classes
    )


def told(data: Texts, made: TextRecipe, index: int = 0) -> dict[str, TextLabels]:
    """Soft labels of a teacher that finds every text to be of one class."""
    chances = torch.full((len(data.classes),), 0.1 / (len(data.classes) - 1))
    chances[index] = 0.9
    names = [text.name for split in ("train", "unlabelled") for text in data.texts(split)]
    return {name: keep(name, chances.log(), made) for name in names}


def test_what_is_kept_and_the_rest_are_all(asked: Texts) -> None:
    for top_k in (3, 12):
        row = keep("train/000000", torch.linspace(-3, 3, 12).log_softmax(0), recipe(asked, top_k))
        total = row.logits.astype(float).ravel().tolist() + row.rest.astype(float).tolist()
        assert sum(math.exp(each) for each in total) == pytest.approx(1, abs=2e-3)
        assert row.classes[0, 0] == 11


def test_an_epoch_of_the_control_is_as_long_as_one_of_the_student(
    asked: Texts, wordpiece: PreTrainedTokenizerFast
) -> None:
    made = recipe(asked)
    taught = lessons.by_soft_labels(asked, wordpiece, TOKENS, told(asked, made), made, Distill())
    alone = lessons.by_label(asked, wordpiece, TOKENS, len(taught.at(0)))  # type: ignore[arg-type]
    assert len(alone.at(3)) == len(taught.at(3)) == 36  # type: ignore[arg-type]
    seen = [alone.at(epoch)[place].name for epoch in range(2) for place in range(36)]
    assert {seen.count(name) for name in set(seen)} == {3}


def test_the_loss_is_that_of_the_teacher_where_there_is_no_label(
    asked: Texts, wordpiece: PreTrainedTokenizerFast
) -> None:
    made = recipe(asked)
    lesson = lessons.by_soft_labels(asked, wordpiece, TOKENS, told(asked, made), made, Distill(weight=0.5))
    samples = lesson.at(0)
    model = build(wordpiece, asked.classes)
    unlabelled = lesson.loss(model, lesson.collate([samples[place] for place in range(24, 36)]))
    assert unlabelled["cross_entropy"] == 0
    assert unlabelled["divergence"] > 0
    labelled = lesson.loss(model, lesson.collate([samples[place] for place in range(12)]))
    assert labelled["cross_entropy"] > 0


def test_a_student_learns_what_the_teacher_says(
    asked: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    made = recipe(asked)
    lesson = lessons.by_soft_labels(asked, wordpiece, TOKENS, told(asked, made, 7), made, Distill(weight=1.0))
    model = build(wordpiece, asked.classes)
    measure = measuring.on_val(asked, wordpiece, TOKENS)
    training_loop.train(model, lesson, tmp_path, epochs=6, training=TRAINING, seed=0, measure=measure)
    (ids,) = (each.ids for each in encoding.labelled(asked, "test", wordpiece, TOKENS)[:1])
    assert network.logits(model, torch.from_numpy(ids[None])).argmax() == 7


def test_a_text_without_soft_labels_is_refused(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    made = recipe(asked)
    cache = told(asked, made)
    del cache["unlabelled/000003"]
    with pytest.raises(IntegrityError, match="unlabelled/000003"):
        lessons.by_soft_labels(asked, wordpiece, TOKENS, cache, made, Distill())


def test_a_train_text_without_a_label_is_refused(wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write(tmp_path / "data", {"train": [Text("", "a", "x"), Text("", "b")]}, ["x"])
    with pytest.raises(DataError, match="train/000001 has no label"):
        lessons.by_label(Texts.load(tmp_path / "data"), wordpiece, TOKENS)


def test_an_unknown_label_is_refused(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="'lunch' is none of the classes"):
        encoding.encode([Text("test/000000", "a", "lunch")], wordpiece, asked.classes, TOKENS)


def test_hidden_tokens_are_learned_in_the_encoder_itself(asked: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    model = build(wordpiece, asked.classes)
    words = model.bert.embeddings.word_embeddings.weight.detach().clone()
    head = model.classifier.weight.detach().clone()
    before = pretraining.pretrain(model, wordpiece, asked, _params(), 1)
    assert not torch.equal(model.bert.embeddings.word_embeddings.weight, words)
    assert torch.equal(model.classifier.weight, head)
    assert torch.equal(before.begun["bert.embeddings.word_embeddings.weight"], model.get_input_embeddings().weight)
    again = build(wordpiece, asked.classes)
    pretraining.pretrain(again, wordpiece, asked, _params(), 1)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)


def _params() -> Params:
    content = {
        "project": "asked",
        "input_size": TOKENS,
        "students": ["small"],
        "runtimes": ["onnx"],
        "networks": {"small": {}},
        "teachers": ["main"],
        "teacher": {"main": {}},
        "training": {"batch": 8, "learning_rate": 0.003},
    }
    return Params.model_validate_json(json.dumps(content))
