from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import tiny_bert
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from alambique.config import text, text_classify
from alambique.config.section import TEACHER
from alambique.demo.texts import Stories
from alambique.errors import ConfigurationError, DataError
from alambique.tasks.transformers import checkpoint, narrowing, structured_pruning
from alambique.tasks.transformers.causal import TEXT
from alambique.tasks.transformers.checkpoint import Network
from alambique.tasks.transformers.classifier import TEXT_CLASSIFY
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.import_dataset import import_dataset
from alambique.tasks.transformers.prunable import Sizes, measure_importance, sizes

IDS = torch.tensor([[1, 5, 40, 200, 7, 3]])
BATCHES = [({"input_ids": IDS}, torch.ones(IDS.shape, dtype=torch.bool))]
LIKE = {"project": "tiny", "students": ["small"], "runtimes": ["onnx"], "teachers": ["main"], "teacher": {"main": {}}}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    home = tmp_path_factory.mktemp("stories")
    Stories(train=8, val=4, test=4, unlabelled=0).write(home / "source")
    import_dataset(str(home / "source"), home / "data")
    return Texts.load(home / "data")


@pytest.fixture(scope="module")
def llama_folder(llama: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: Any) -> Path:
    """The weights of a teacher's checkpoint."""
    home: Path = tmp_path_factory.mktemp("llama")
    checkpoint.save(Network(llama, tokenizer), home)
    return TEXT.weights_of(home)


@pytest.fixture(scope="module")
def bert(intents: Texts, wordpiece: PreTrainedTokenizerFast) -> Any:
    """Read-only."""
    return tiny_bert.build(wordpiece, intents.classes)


def build_text(stories: Texts, weights: Path, named: str = "/given", **network: Any) -> Network:
    student = {"weights": named, **network}
    params = text.Params.model_validate({**LIKE, "input_size": 48, "networks": {"small": student}})
    return TEXT.build(params.networks["small"], stories, params, seed=0, weights=weights)


def test_weights_of_the_same_sizes_give_the_same_logits(stories: Texts, llama: Any, llama_folder: Path) -> None:
    for network in ({}, {"layers": 3, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}):
        assert torch.equal(build_text(stories, llama_folder, **network).model(IDS).logits, llama(IDS).logits)


def test_a_llama_has_the_sizes_asked_for_and_repeats(stories: Texts, llama_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    network = {"layers": 2, "hidden": 20, "heads": 2, "kv_heads": 1, "ffn": 30}
    first, second = (build_text(stories, llama_folder, **network) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert sizes(first.model) == Sizes(layers=2, groups=1, ffn=30, hidden=20, group_heads=2, width=8)
    model: Any = first.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    checkpoint.save(first, tmp_path)
    assert torch.equal(TEXT.load(tmp_path).model(IDS).logits, second.model(IDS).logits)


def test_sizes_that_are_null_are_those_of_the_weights(stories: Texts, llama_folder: Path) -> None:
    assert sizes(build_text(stories, llama_folder, ffn=12).model) == Sizes(3, 2, 12, 32, 2, 8)
    assert sizes(build_text(stories, llama_folder, heads=2).model) == Sizes(3, 1, 48, 32, 2, 8)
    assert sizes(build_text(stories, llama_folder, heads=2, kv_heads=2).model) == Sizes(3, 2, 48, 32, 1, 8)


def test_heads_of_a_teacher_fix_the_width_of_the_controls(stories: Texts, llama_folder: Path) -> None:
    sizes_of = {"layers": 2, "heads": 2, "kv_heads": 1, "ffn": 30}
    build_text(stories, llama_folder, TEACHER, hidden=16, **sizes_of)
    with pytest.raises(DataError, match=r"teacher's are 8 wide, .* give hidden / heads that width, as hidden 16"):
        build_text(stories, llama_folder, TEACHER, hidden=20, **sizes_of)


def test_channels_of_the_residual_stream_that_hold_nothing_go_first(model: Any) -> None:
    idle = torch.arange(0, 32, 4)
    for name, weight in model.named_parameters():
        if name.endswith("embed_tokens.weight"):
            weight.data[:, idle] = 0
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data[idle] = 0
    scores = measure_importance(model, BATCHES)
    smaller = structured_pruning.cut(model, sizes(model)._replace(hidden=24), scores)
    torch.testing.assert_close(smaller(IDS).logits, model(IDS).logits, atol=1e-3, rtol=1e-3)
    assert set(idle.tolist()) == set(scores.hidden.argsort()[:8].tolist())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"hidden": 40}, "hidden: 40 are more than the 32 of the weights, which can be narrowed, not widened; give 32"),
        ({"layers": 4}, "layers: 4 are more than the 3"),
        ({"heads": 4, "kv_heads": 1}, "heads: 4 over kv_heads 1 is no whole number of up to 2"),
    ],
)
def test_what_a_llama_cannot_be_narrowed_to_is_refused(
    stories: Texts, llama_folder: Path, network: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build_text(stories, llama_folder, **network)


def test_adapters_do_not_go_with_narrowing(stories: Texts, llama_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="lora: adapters mend no network that was narrowed"):
        build_text(stories, llama_folder, ffn=8, lora={"rank": 2})


def classify(intents: Texts, weights: Path, **network: Any) -> Network:
    student = {"weights": "/given", **network}
    params = text_classify.Params.model_validate(
        {**LIKE, "input_size": tiny_bert.TOKENS, "networks": {"small": student}}
    )
    return TEXT_CLASSIFY.build(params.networks["small"], intents, params, seed=0, weights=weights)


def test_a_bert_is_narrowed(intents: Texts, bert: Any, wordpiece: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    checkpoint.save(Network(bert, wordpiece), tmp_path)
    weights = TEXT_CLASSIFY.weights_of(tmp_path)
    same = classify(intents, weights, layers=3, hidden=16, heads=2, ffn=32).model
    torch.testing.assert_close(same.state_dict(), bert.state_dict(), atol=0, rtol=0)
    for network, expected in (
        ({"layers": 2, "hidden": 8, "heads": 2, "ffn": 16}, Sizes(2, 2, 16, 8, 1, 4)),
        ({"hidden": 8, "heads": 1}, Sizes(3, 1, 32, 8, 1, 8)),
    ):
        first, second = (classify(intents, weights, **network).model for _ in range(2))
        assert sizes(first) == expected
        assert torch.equal(first(IDS).logits, second(IDS).logits)


def test_a_berts_heads_keep_what_matters_in_them(bert: Any, intents: Texts, wordpiece: Any) -> None:
    model = tiny_bert.build(wordpiece, intents.classes)
    for layer in model.bert.encoder.layer:
        attention = layer.attention
        for part in (attention.self.query, attention.self.key):
            part.weight.data[::2] = part.bias.data[::2] = 0
        attention.output.dense.weight.data[:, ::2] = 0
    narrow = sizes(model)._replace(width=4)
    cut = structured_pruning._kept_parts(
        model, structured_pruning.architecture_of(model), narrow, measure_importance(model, BATCHES), 0
    )
    assert all(rows == list(range(1, 16, 2)) for part, rows in cut[0].items() if "self" in part)


def test_heads_that_no_bert_of_the_weights_has_are_refused_and_others_named(bert: Any) -> None:
    student = text_classify.Student(weights="/given", hidden=12, heads=1)
    with pytest.raises(DataError, match=r"hidden 12 over 1 heads .* up to 8, .* heads can be: 2"):
        narrowing.student_sizes(bert, student)
