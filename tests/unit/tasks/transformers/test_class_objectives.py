from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories.tiny_bert import TOKENS, build
from transformers import PreTrainedTokenizerFast

from alambique.config.classify import Distill
from alambique.config.text_classify import Training
from alambique.errors import DataError, IntegrityError
from alambique.tasks import training_loop
from alambique.tasks.classifiers.soft_labels import ClassLabels, ClassRecipe, keep
from alambique.tasks.transformers import class_objectives, encoding, models
from alambique.tasks.transformers.class_objectives import checksum
from alambique.tasks.transformers.dataset import Text, Texts, write

TRAINING = Training(batch=8, learning_rate=0.003)


def recipe(data: Texts, top_k: int = 100) -> ClassRecipe:
    return ClassRecipe(
        teachers=["0" * 64], combine="average", data={}, preprocessing={}, top_k=top_k, classes=data.classes
    )


def soft_labels(data: Texts, class_recipe: ClassRecipe, index: int = 0) -> dict[str, ClassLabels]:
    """Soft labels of a teacher that finds every text to be of one class."""
    probabilities = torch.full((len(data.classes),), 0.1 / (len(data.classes) - 1))
    probabilities[index] = 0.9
    texts = [text for split in ("train", "unlabelled") for text in data.texts(split)]
    return {
        text.name: keep(text.name, probabilities.log()[None], [checksum(text.text)], class_recipe) for text in texts
    }


def test_the_control_is_given_the_labelled_texts_alone(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    samples = class_objectives.by_labels(intents, wordpiece, TOKENS).epoch_dataset(0)
    assert [samples[place].name for place in range(len(samples))] == [text.name for text in intents.texts("train")]


def test_the_loss_is_that_of_the_teacher_where_there_is_no_label(
    intents: Texts, wordpiece: PreTrainedTokenizerFast
) -> None:
    class_recipe = recipe(intents)
    objective = class_objectives.by_soft_labels(
        intents, wordpiece, TOKENS, soft_labels(intents, class_recipe), class_recipe, Distill(weight=0.5)
    )
    samples = objective.epoch_dataset(0)
    model = build(wordpiece, intents.classes)
    unlabelled = objective.loss(model, objective.collate([samples[place] for place in range(24, 36)]))
    assert unlabelled["cross_entropy"] == 0
    assert unlabelled["divergence"] > 0
    labelled = objective.loss(model, objective.collate([samples[place] for place in range(12)]))
    assert labelled["cross_entropy"] > 0


def test_a_student_learns_the_teachers_class(
    intents: Texts, wordpiece: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    class_recipe = recipe(intents)
    objective = class_objectives.by_soft_labels(
        intents, wordpiece, TOKENS, soft_labels(intents, class_recipe, 7), class_recipe, Distill(weight=1.0)
    )
    model = build(wordpiece, intents.classes)
    measure = class_objectives.val(intents, wordpiece, TOKENS).measure
    training_loop.train(model, objective, tmp_path, steps=24, training=TRAINING, seed=0, measure=measure)
    (ids,) = (text.ids for text in encoding.encode_labelled(intents, "test", wordpiece, TOKENS)[:1])
    assert models.class_logits(model, torch.from_numpy(ids[None])).argmax() == 7


def test_a_text_without_soft_labels_is_refused(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    class_recipe = recipe(intents)
    cache = soft_labels(intents, class_recipe)
    del cache["unlabelled/000003"]
    with pytest.raises(IntegrityError, match="unlabelled/000003"):
        class_objectives.by_soft_labels(intents, wordpiece, TOKENS, cache, class_recipe, Distill())


def test_a_train_text_without_a_label_is_refused(wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write(tmp_path / "data", {"train": [Text("", "a", "x"), Text("", "b")]}, ["x"])
    with pytest.raises(DataError, match="train/000001 has no label"):
        class_objectives.by_labels(Texts.load(tmp_path / "data"), wordpiece, TOKENS)


def test_an_unknown_label_is_refused(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="'lunch' is none of the classes"):
        encoding.encode([Text("test/000000", "a", "lunch")], wordpiece, intents.classes, TOKENS)
