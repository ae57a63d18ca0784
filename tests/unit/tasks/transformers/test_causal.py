from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alambique.tasks.transformers.predict import load, open_candidate
from rich.console import Console
from transformers import AutoModelForCausalLM

from alambique import config, layout
from alambique.config.text import Params
from alambique.demo.stories import Stories
from alambique.errors import ConfigurationError, DataError
from alambique.files import folder_sha256, read_json, write_json
from alambique.layout import Candidate
from alambique.softlabels.reader import Cache
from alambique.tasks.cards import read_card
from alambique.tasks.transformers import TEXT, chat, folders, network, results, soft_labels, tokenizers
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.evaluate import encoded

NOTHING = {"uri": None, "sha256": None, "file": None}
NETWORK = {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}


def parse(**changes: Any) -> Params:
    content = {
        "project": "tiny",
        "task": "text",
        "input_size": 64,
        "students": ["small"],
        "runtimes": ["onnx"],
        "int8": ["onnx"],
        "networks": {"small": NETWORK},
        "teachers": ["main"],
        "teacher": {"main": {"network": NETWORK, "epochs": 1}},
        "training": {"batch": 8, "learning_rate": 0.01, "vocabulary": 300},
        "soft_labels": {"top_k": 6},
        "distill": {"epochs": 1},
        "prune": {"epochs": 1, "ratio": 0.1},
        **changes,
    }
    params = config.parse(content, "params.yaml")
    assert isinstance(params, Params)
    return params


def out(root: Path, path: Path | str) -> Path:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Home:
    """A project with a teacher and its soft labels."""

    root: Path
    params: Params

    @property
    def teacher(self) -> Path:
        return self.root / layout.teacher("main")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root, params = tmp_path_factory.mktemp("text"), parse()
    Stories(train=30, val=8, test=8, unlabelled=6).write(root / "stories")
    TEXT.adopt(str(root / "stories"), root / "data")
    write_json(root / "inputs/teachers/index.json", {"main": NOTHING, "other": NOTHING})
    write_json(root / "inputs/students/index.json", {"small": NOTHING})
    TEXT.teacher(root, params, "main", out(root, layout.teacher("main")))
    TEXT.soft_labels(root, params, 0, out(root, layout.shard(0)))
    return Home(root, params)


def labels(home: Home, params: Params, root: Path) -> Any:
    """A project beside `home` with soft labels of its own."""
    for name in ("data", "inputs", "models"):
        if not (root / name).exists():
            (root / name).symlink_to(home.root / name)
    TEXT.soft_labels(root, params, 0, out(root, layout.shard(0)))
    return Cache.open(root / layout.SOFT_LABELS, soft_labels.recipe(root, params, Texts.load(root / "data")))


def test_the_cache_holds_what_the_teacher_expects(home: Home) -> None:
    cache = Cache.open(
        home.root / layout.SOFT_LABELS, soft_labels.recipe(home.root, home.params, Texts.load(home.root / "data"))
    )
    model, tokenizer = network.load(home.teacher)
    row = cache["train/000004"]
    chances = network.logits(model, torch.from_numpy(row.ids.astype(np.int64))[None], len(tokenizer))[0].log_softmax(-1)
    top = chances.topk(6)
    assert row.tokens.tolist() == top.indices.tolist()
    assert np.abs(row.logits - top.values.detach().numpy()).max() < 0.01
    assert np.abs(np.exp(row.rest.astype(float)) + np.exp(row.logits.astype(float)).sum(-1) - 1).max() < 0.01
    assert {name.partition("/")[0] for name in cache} == {"train", "unlabelled"}


def test_what_several_teachers_expect_is_averaged(home: Home, tmp_path: Path) -> None:
    params = parse(teachers=["main", "other"], teacher={name: {"network": NETWORK} for name in ("main", "other")})
    (tmp_path / "models/teacher").mkdir(parents=True)
    (tmp_path / "models/teacher/main").symlink_to(home.teacher)
    TEXT.teacher(
        home.root,
        params.model_copy(update={"seed": 7}),
        "other",
        out(tmp_path, layout.teacher("other")),
    )
    cache = labels(home, params, tmp_path)
    row = cache["train/000001"]
    ids = torch.from_numpy(row.ids.astype(np.int64))[None]
    models = [network.load(tmp_path / layout.teacher(name))[0] for name in ("main", "other")]
    chances = torch.stack([network.logits(model, ids, 300)[0].softmax(-1) for model in models]).mean(0)
    assert row.tokens.tolist() == chances.topk(6).indices.tolist()
    assert np.abs(np.exp(row.logits.astype(float)) - chances.topk(6).values.detach().numpy()).max() < 0.01


def test_a_sequence_student_learns_what_the_teacher_wrote(home: Home, tmp_path: Path) -> None:
    params = parse(soft_labels={"top_k": 6, "prompt": 5}, distill={"epochs": 1, "method": "sequence"})
    cache = labels(home, params, tmp_path)
    texts = {each.name: each for each in encoded(home.teacher, Texts.load(home.root / "data"), "train")}
    for name in ("train/000000", "train/000003"):
        row = cache[name]
        assert row.ids[:5].tolist() == texts[name].ids[:5].tolist()
        assert row.loss_mask.tolist() == [0] * 5 + [1] * (len(row.ids) - 5)
        assert len(row.ids) <= 64
    assert any(cache[name].ids.tolist() != each.ids.tolist() for name, each in texts.items())
    again = labels(home, params, tmp_path)
    assert all((again[name].ids == cache[name].ids).all() for name in cache)
    taught = TEXT.distill(tmp_path, params, "small", 0, out(tmp_path, "taught"))
    alone = TEXT.control(tmp_path, params, "small", 0, out(tmp_path, "alone"))
    assert taught["steps"] == alone["steps"]
    assert "divergence" not in " ".join(taught)


@pytest.mark.parametrize("how", [{"divergence": "reverse"}, {"divergence": "jsd", "beta": 0.3}, {"weight": 1.0}])
def test_each_divergence_trains(home: Home, tmp_path: Path, how: dict[str, Any]) -> None:
    params = parse(distill={"epochs": 1, **how})
    metrics = TEXT.distill(home.root, params, "small", 0, tmp_path)
    assert metrics["train_divergence"] > 0
    assert ("train_next_token" in metrics) == ("weight" not in how)
    assert read_card(tmp_path)["teachers"] == [read_card(home.teacher)["sha256"]]


def given(home: Home, folder: Path, params: Params, tmp_path: Path) -> Path:
    """A project beside `home` whose student is given weights."""
    for name in ("data", "models", "soft_labels"):
        (tmp_path / name).symlink_to(home.root / name)
    entry = {"uri": str(folder), "sha256": folder_sha256(folder), "file": str(folder)}
    write_json(tmp_path / "inputs/students/index.json", {"small": entry})
    return tmp_path


def test_adapters_are_merged_into_the_given_weights(home: Home, tmp_path: Path) -> None:
    start = home.teacher / folders.MODEL
    params = parse(networks={"small": {"weights": str(start), "lora": {"rank": 2}}})
    root = given(home, start, params, tmp_path)
    TEXT.distill(root, params, "small", 0, out(root, "made"))
    card, before = read_card(root / "made"), read_card(home.teacher)
    assert card["parameters"] == before["parameters"]
    assert card["source"] == str(start)
    made, was = (AutoModelForCausalLM.from_pretrained(path / folders.MODEL) for path in (root / "made", home.teacher))
    names = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, was.state_dict()[name])}
    assert names
    assert all("_proj" in name for name in names)


def test_a_student_with_other_tokens_is_refused(home: Home, tmp_path: Path) -> None:
    other = tokenizers.train_bpe(["something else entirely, and then more of it"] * 3, 290)
    model = network.build(parse().networks["small"], other, 64, 0)
    folders.save(model, other, tmp_path / "other")
    start = tmp_path / "other" / folders.MODEL
    params = parse(networks={"small": {"weights": str(start)}})
    root = given(home, start, params, out(tmp_path, "project"))
    with pytest.raises(ConfigurationError, match=r"networks.small.weights has another tokenizer than the teacher main"):
        TEXT.distill(root, params, "small", 0, out(root, "made"))


def test_a_teacher_is_taken_as_it_is_or_trained_on(home: Home, tmp_path: Path) -> None:
    start = home.teacher / folders.MODEL
    write_json(
        tmp_path / "inputs/teachers/index.json",
        {"main": {"uri": str(start), "sha256": folder_sha256(start), "file": str(start)}},
    )
    (tmp_path / "data").symlink_to(home.root / "data")
    fetched = parse(teacher={"main": {"source": "fetch", "weights": str(start)}})
    metrics = TEXT.teacher(tmp_path, fetched, "main", out(tmp_path, "fetched"))
    assert read_card(tmp_path / "fetched")["sha256"] == read_card(home.teacher)["sha256"]
    tuned = TEXT.teacher(
        tmp_path, parse(teacher={"main": {"weights": str(start), "epochs": 1}}), "main", out(tmp_path, "tuned")
    )
    assert tuned["val_perplexity"] < metrics["val_perplexity"]
    with pytest.raises(ConfigurationError, match="input_size: 100 tokens are more than the 64"):
        TEXT.teacher(tmp_path, parse(input_size=100, teacher=fetched.model_dump()["teacher"]), "main", tmp_path)


@pytest.fixture(scope="module")
def candidate(home: Home) -> Path:
    """A candidate in 4 bits."""
    params = parse(quantize={"bits": 4, "max_drop": 1.0})
    TEXT.distill(home.root, params, "small", 0, out(home.root, layout.checkpoint("small", "distilled", 0)))
    TEXT.prune(home.root, params, "small", out(home.root, layout.checkpoint("small", "pruned")))
    made = Candidate("small", "onnx", "int8")
    metrics = TEXT.quantize(home.root, params, made, out(home.root, made.folder))
    assert metrics["bits"] == 4
    assert metrics["within_budget"]
    return home.root / made.folder


def test_a_candidate_says_what_it_is(home: Home, candidate: Path) -> None:
    card = read_card(candidate)
    assert (card["arithmetic"], card["precision"], card["chat"]) == ("int4", "int8", False)
    assert {"model.onnx", "tokenizer.json", "example.py"} <= set(card["files"])
    pruned = read_card(home.root / layout.checkpoint("small", "pruned"))
    assert card["checkpoint_sha256"] == pruned["sha256"]
    assert pruned["parameters"] < read_card(home.root / layout.checkpoint("small", "distilled", 0))["parameters"]


def test_evaluations_compare_tokens(home: Home, candidate: Path, tmp_path: Path) -> None:
    for name in ("teacher-main", "small-onnx-int8"):
        metrics = TEXT.evaluate(home.root, home.params, name, out(tmp_path, name))
        rows, vocabulary = results.read(tmp_path / name)
        tokens = sum(len(row.truth) for row in rows.values())
        right = sum(int(row.right.sum()) for row in rows.values())
        nats = sum(float(row.nats.sum()) for row in rows.values())
        assert metrics["accuracy"] == right / tokens
        assert metrics["perplexity"] == pytest.approx(np.exp(nats / tokens), rel=1e-4)
        assert vocabulary == 300
    own = TEXT.relative(tmp_path / "teacher-main", tmp_path / "teacher-main", home.params)
    assert own["agreement"] == 1
    assert own["kl"] == pytest.approx(0, abs=1e-6)
    found = TEXT.relative(tmp_path / "small-onnx-int8", tmp_path / "teacher-main", home.params)
    data = Texts.load(home.root / "data")
    sides = [load(path, 1) for path in (home.teacher, candidate)]
    whole = []
    for each in encoded(home.teacher, data, "test"):
        one, other = (torch.from_numpy(predict(each.ids))[:-1].double().log_softmax(-1) for predict in sides)
        whole.append((one.exp() * (one - other)).sum(-1))
    dense = float(torch.cat(whole).mean())
    assert found["kl"] == pytest.approx(dense, rel=0.35)
    assert 0 <= found["agreement"] <= 1


def test_evaluations_of_other_texts_are_not_compared(home: Home, candidate: Path, tmp_path: Path) -> None:
    TEXT.evaluate(home.root, home.params, "teacher-main", out(tmp_path, "one"))
    rows, vocabulary = results.read(tmp_path / "one")
    out(tmp_path, "other")
    results.write(tmp_path / "other" / results.RESULTS, dict(list(rows.items())[1:]), vocabulary)
    with pytest.raises(DataError, match="were not evaluated on the same tokens"):
        TEXT.resample([tmp_path / "one", tmp_path / "other"])


def test_speech_is_what_the_model_holds_likeliest_and_costs_each_token_once(candidate: Path) -> None:
    speaker = chat.Speaker(candidate, 1, temperature=0, seed=0)
    steps: list[int] = []
    step = speaker.decoder.step

    def counted(ids: Any, keys: Any, values: Any) -> Any:
        steps.append(ids.shape[1])
        return step(ids, keys, values)

    speaker.decoder = speaker.decoder._replace(step=counted)
    ids = [1, *speaker.tokenizer("One sunny day", add_special_tokens=False)["input_ids"]]
    said = "".join(speaker.say(ids, 6))
    predict, expected = load(candidate, 1), list(ids)
    for _ in range(6):
        token = int(predict(np.array(expected))[-1].argmax())
        if token == speaker.card["end"]:
            break
        expected.append(token)
    whole = speaker.tokenizer.decode(expected, skip_special_tokens=True)
    assert whole == speaker.tokenizer.decode(ids, skip_special_tokens=True) + said
    assert steps == [len(ids)] + [1] * (len(steps) - 1)
    "".join(speaker.say([*expected, 5, 6], 1))
    assert steps[-1] <= 4  # what was read before is remembered


def test_lines_are_answered_until_the_input_ends(candidate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One day\n\nTom went\n"))
    console = Console(file=io.StringIO())
    chat.chat(candidate, temperature=0.7, most=4, seed=0, threads=1, console=console)
    said = console.file.getvalue()
    assert "It goes on with each line" in said
    assert "tokens/s" in said


def test_a_checkpoint_cannot_talk(home: Home) -> None:
    with pytest.raises(DataError, match="is a checkpoint, not an exported candidate"):
        open_candidate(home.teacher, 1)
    card = read_json(home.teacher / layout.CARD)
    assert card["task"] == "text"


def test_a_sample_of_the_cache_is_told_token_by_token(home: Home) -> None:
    console = Console(file=io.StringIO(), width=140)
    TEXT.inspect_sample(home.root, "train/000002", console)
    assert "expected next" in console.file.getvalue()
