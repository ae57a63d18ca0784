from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from transformers import AutoModelForCausalLM

from alambique import config, layout
from alambique.demo.texts import Stories
from alambique.errors import ConfigurationError, DataError
from alambique.files import folder_sha256, read_json, write_json
from alambique.layout import CARD
from alambique.softlabels.reader import Cache
from alambique.stages import control, distill, evaluate, prune, quantize, search, soft_labels, teacher
from alambique.tasks.cards import read_card
from alambique.tasks.transformers import chat, checkpoint, models, results, sequences, tokenizers
from alambique.tasks.transformers.causal import TEXT
from alambique.tasks.transformers.checkpoint import MODEL, Network
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.evaluate import empty_past
from alambique.tasks.transformers.evaluate import encoded as encode_split
from alambique.tasks.transformers.import_dataset import import_dataset
from alambique.tasks.transformers.soft_labels import TokenLabels

NOTHING = {"uri": None, "sha256": None, "file": None}
NETWORK = {"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}
PARAMS: dict[str, Any] = {
    "project": "tiny",
    "task": "text",
    "input_size": 64,
    "students": ["small"],
    "runtimes": ["onnx"],
    "int8": ["onnx"],
    "networks": {"small": NETWORK},
    "teachers": ["main"],
    "teacher": {"main": {"network": NETWORK, "steps": 18}},
    "training": {"batch": 8, "learning_rate": 0.01, "vocabulary": 300},
    "soft_labels": {"top_k": 6},
    "distill": {"steps": 18},
    "prune": {"steps": 18, "ratio": 0.1},
    "quantize": {"bits": 4, "max_drop": 1.0},
    "evaluate": {"top_k": 300},  # the whole vocabulary
}
TEACHER = layout.teacher("main")
DISTILLED = layout.checkpoint("small", "distilled", 0)


@dataclass(frozen=True)
class Home:
    """A project with a teacher and its soft labels."""

    root: Path

    @property
    def teacher(self) -> Path:
        return self.root / TEACHER

    def beside(self, root: Path, *folders: str, **changes: Any) -> Path:
        """A project with other parameters, which shares these folders."""
        root.mkdir(exist_ok=True)
        for name in ("data", *folders):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(self.root / name)
        return _project(root, **changes)

    def cache(self, root: Path) -> Cache[TokenLabels]:
        """The soft labels of a project."""
        params: Any = config.load(root)
        cards = [read_card(root / layout.teacher(name)) for name in params.teachers]
        return Cache.open(root / layout.SOFT_LABELS, TEXT.soft_label_recipe(cards, Texts.load(root / "data"), params))


def _project(root: Path, **changes: Any) -> Path:
    (root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}))
    write_json(root / "metrics/validate.json", {"success": True, "failures": []})
    names = {**PARAMS, **changes}["teachers"]
    write_json(root / "inputs/teachers/index.json", dict.fromkeys(names, NOTHING))
    write_json(root / "inputs/students/index.json", {"small": NOTHING})
    return root


def _give(root: Path, whose: str, name: str, folder: Path) -> None:
    """Give a teacher or student weights."""
    entry = {"uri": str(folder), "sha256": folder_sha256(folder), "file": str(folder)}
    write_json(root / f"inputs/{whose}/index.json", {name: entry})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("text")
    Stories(train=30, val=8, test=8, unlabelled=6).write(root / "stories")
    import_dataset(str(root / "stories"), root / "data")
    _project(root)
    teacher.run(root, "main")
    soft_labels.run(root, "0")
    return Home(root)


def test_the_cache_holds_the_teachers_distribution(home: Home) -> None:
    cache, (model, tokenizer, _) = home.cache(home.root), TEXT.load(home.teacher)
    row = cache["train/000004"]
    ids = torch.from_numpy(row.ids.astype(np.int64))[None]
    top = models.token_logits(model, ids, len(tokenizer))[0].log_softmax(-1).topk(6)
    assert row.tokens.tolist() == top.indices.tolist()
    assert np.abs(row.log_probabilities - top.values.detach().numpy()).max() < 0.01
    kept = np.exp(row.log_probabilities.astype(float)).sum(-1)
    assert np.abs(np.exp(row.log_remaining_mass.astype(float)) + kept - 1).max() < 0.01
    assert {name.partition("/")[0] for name in cache} == {"train", "unlabelled"}


def test_the_distributions_of_several_teachers_are_averaged(home: Home, tmp_path: Path) -> None:
    networks = {name: {"network": NETWORK, "steps": 18} for name in ("main", "other")}
    root = home.beside(tmp_path / "project", str(TEACHER), seed=7, teachers=["main", "other"], teacher=networks)
    teacher.run(root, "other")
    soft_labels.run(root, "0")
    row = home.cache(root)["train/000001"]
    ids = torch.from_numpy(row.ids.astype(np.int64))[None]
    both = [TEXT.load(root / layout.teacher(name)).model for name in ("main", "other")]
    top = torch.stack([models.token_logits(model, ids, 300)[0].softmax(-1) for model in both]).mean(0).topk(6)
    assert row.tokens.tolist() == top.indices.tolist()
    assert np.abs(np.exp(row.log_probabilities.astype(float)) - top.values.detach().numpy()).max() < 0.01


def test_a_sequence_student_is_trained_on_what_the_teacher_wrote(home: Home, tmp_path: Path) -> None:
    how = {"soft_labels": {"top_k": 6, "prompt": 5}, "distill": {"steps": 18, "method": "sequence"}}
    root = home.beside(tmp_path / "project", "models/teacher", **how)
    soft_labels.run(root, "0")
    cache = home.cache(root)
    texts = {text.name: text.ids for text in encode_split(home.teacher, Texts.load(home.root / "data"), "train")}
    for name in ("train/000000", "train/000003"):
        row = cache[name]
        assert row.ids[:5].tolist() == texts[name][:5].tolist()
        assert row.loss_mask.tolist() == [0] * 5 + [1] * (len(row.ids) - 5)
        assert len(row.ids) <= 64
    assert any(cache[name].ids.tolist() != ids[:64].tolist() for name, ids in texts.items())
    before = {name: cache[name].ids.tolist() for name in cache}
    soft_labels.run(root, "0")
    assert {name: row.ids.tolist() for name, row in home.cache(root).items()} == before
    distill.run(root, "small", "0")
    control.run(root, "small", "0")
    distilled, alone = (read_json(root / f"metrics/{kind}/small-0.json") for kind in ("distill", "control"))
    assert distilled["steps"] == alone["steps"]
    assert "divergence" not in " ".join(distilled)


@pytest.mark.parametrize("how", [{"divergence": "reverse"}, {"divergence": "jsd", "beta": 0.3}, {"weight": 1.0}])
def test_each_divergence_trains(home: Home, tmp_path: Path, how: dict[str, Any]) -> None:
    root = home.beside(tmp_path / "project", "models/teacher", "soft_labels", distill={"steps": 18, **how})
    distill.run(root, "small", "0")
    metrics = read_json(root / "metrics/distill/small-0.json")
    assert metrics["train_divergence"] > 0
    assert ("train_next_token" in metrics) == ("weight" not in how)
    assert read_card(root / DISTILLED)["teachers"] == [read_card(home.teacher)["sha256"]]


def test_adapters_are_merged_into_the_given_weights(home: Home, tmp_path: Path) -> None:
    start = home.teacher / MODEL
    networks = {"small": {"weights": str(start), "lora": {"rank": 2}}}
    root = home.beside(tmp_path / "project", "models/teacher", "soft_labels", networks=networks)
    _give(root, "students", "small", start)
    distill.run(root, "small", "0")
    card, before = read_card(root / DISTILLED), read_card(home.teacher)
    assert card["parameters"] == before["parameters"]
    assert card["source"] == str(start)
    after, given = (AutoModelForCausalLM.from_pretrained(path / MODEL) for path in (root / DISTILLED, home.teacher))
    names = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, given.state_dict()[name])}
    assert names
    assert all("_proj" in name for name in names)


def test_a_student_of_its_teacher_and_its_control_are_the_same_network(home: Home, tmp_path: Path) -> None:
    smaller = {"layers": 1, "hidden": 16, "heads": 2, "kv_heads": 1, "ffn": 24, "weights": "teacher"}
    root = home.beside(tmp_path / "project", "models/teacher", "soft_labels", networks={"small": smaller})
    distill.run(root, "small", "0")
    control.run(root, "small", "0")
    distilled, alone = (read_card(root / layout.checkpoint("small", kind, 0)) for kind in ("distilled", "control"))
    assert distilled["source"] == f"teacher:{read_card(home.teacher)['sha256']}"
    assert alone["source"] is None
    for figure in ("network", "parameters", "macs", "tokenizer"):
        assert distilled[figure] == alone[figure]


def test_a_student_with_other_tokens_is_refused(home: Home, tmp_path: Path) -> None:
    other = tokenizers.train_bpe(["something else entirely, and then more of it"] * 3, 290)
    params: Any = config.load(home.root)
    checkpoint.save(Network(models.build_llama(params.networks["small"], other, 64, 0), other), tmp_path / "other")
    start = tmp_path / "other" / MODEL
    networks = {"small": {"weights": str(start)}}
    root = home.beside(tmp_path / "project", "models/teacher", "soft_labels", networks=networks)
    _give(root, "students", "small", start)
    with pytest.raises(ConfigurationError, match=r"another tokenizer than the teacher main \(vocabularies of 300 and"):
        distill.run(root, "small", "0")


def test_a_teacher_is_taken_as_it_is_or_trained_on(home: Home, tmp_path: Path) -> None:
    start = home.teacher / MODEL
    fetched = {"main": {"source": "fetch", "weights": str(start)}}
    cases: dict[str, dict[str, Any]] = {
        "fetched": {"teacher": fetched},
        "tuned": {"teacher": {"main": {"weights": str(start), "steps": 18}}},
        "long": {"teacher": fetched, "input_size": 100},
    }
    for name, changes in cases.items():
        _give(home.beside(tmp_path / name, **changes), "teachers", "main", start)
    teacher.run(tmp_path / "fetched", "main")
    teacher.run(tmp_path / "tuned", "main")
    assert read_card(tmp_path / "fetched" / TEACHER)["sha256"] == read_card(home.teacher)["sha256"]
    before, after = (read_json(tmp_path / f"{name}/metrics/teacher/main.json") for name in ("fetched", "tuned"))
    assert after["val_perplexity"] < before["val_perplexity"]
    with pytest.raises(ConfigurationError, match="input_size: 100 tokens are more than the 64"):
        teacher.run(tmp_path / "long", "main")


@pytest.fixture(scope="module")
def candidate(home: Home) -> Path:
    """A candidate in 4 bits."""
    distill.run(home.root, "small", "0")
    search.run(home.root)
    prune.run(home.root, "small")
    quantize.run(home.root, "small", "onnx")
    metrics = read_json(home.root / "metrics/export/small-onnx-int8.json")
    assert metrics["bits"] == 4
    assert metrics["within_budget"]
    return home.root / "candidates/small-onnx-int8"


def test_a_candidate_says_what_it_is(home: Home, candidate: Path) -> None:
    card = read_card(candidate)
    assert (card["arithmetic"], card["precision"], card["chat"]) == ("int4", "int8", False)
    assert {"model.onnx", "tokenizer.json", "example.py"} <= set(card["files"])
    pruned = read_card(home.root / layout.checkpoint("small", "pruned"))
    assert card["checkpoint_sha256"] == pruned["sha256"]
    sizes = pruned["network"]
    assert card["input"]["past_keys"]["shape"] == [sizes["layers"], sizes["kv_heads"], -1, sizes["head_width"]]
    assert pruned["parameters"] < read_card(home.root / DISTILLED)["parameters"]


def test_evaluations_compare_tokens(home: Home, candidate: Path) -> None:
    for name in ("teacher-main", "small-onnx-int8"):
        evaluate.run(home.root, name)
        metrics = read_json(home.root / layout.evaluation_metrics(name))
        evaluation = results.read(home.root / layout.evaluation(name))
        joined = results.join([text.tokens for text in evaluation.texts.values()])
        assert metrics["tokens"] == len(joined.truth)
        assert metrics["token_accuracy"] == joined.correct.mean()
        assert metrics["perplexity"] == pytest.approx(np.exp(joined.nats.mean()), rel=1e-4)
        assert evaluation.vocabulary == 300
    params, (first, second) = (
        config.load(home.root),
        (home.root / layout.evaluation(name) for name in ("teacher-main", "small-onnx-int8")),
    )
    with_itself = TEXT.relative(first, first, params)  # type: ignore[arg-type]
    assert with_itself["agreement"] == 1
    assert with_itself["kl"] == pytest.approx(0, abs=1e-6)
    relative = TEXT.relative(second, first, params)  # type: ignore[arg-type]
    assert relative["kl"] == pytest.approx(_dense_kl(home, candidate), rel=0.02)
    assert 0 <= relative["agreement"] <= 1


def _dense_kl(home: Home, candidate: Path) -> float:
    """Over the whole vocabulary."""
    programs = (TEXT.program(home.teacher, 1), TEXT.open(candidate, 1))
    past, kl = empty_past(read_card(candidate)), []
    texts = encode_split(home.teacher, Texts.load(home.root / "data"), "test")
    for window in (window for text in texts for window in sequences.windows(text, PARAMS["input_size"])):
        places = np.flatnonzero(window.loss_mask) - 1
        first, second = (
            torch.from_numpy(program(window.ids[None], *past)[0][0])[places].double().log_softmax(-1)
            for program in programs
        )
        kl.append((first.exp() * (first - second)).sum(-1))
    return float(torch.cat(kl).mean())


def test_evaluations_of_other_texts_are_not_compared(home: Home, tmp_path: Path) -> None:
    evaluate.run(home.root, "teacher-main")
    first = home.root / layout.evaluation("teacher-main")
    evaluation = results.read(first)
    results.write(tmp_path, evaluation._replace(texts=dict(list(evaluation.texts.items())[1:])))
    with pytest.raises(DataError, match="were not evaluated on the same samples"):
        TEXT.resample([first, tmp_path])


def test_chat_generates_the_likeliest_tokens_and_computes_each_once(candidate: Path) -> None:
    generator = chat.Generator(candidate, 1, temperature=0, seed=0)
    steps: list[int] = []
    program = generator.program

    def counted(ids: Any, keys: Any, values: Any) -> Any:
        steps.append(ids.shape[1])
        return program(ids, keys, values)

    generator.program = counted
    ids = [1, *generator.tokenizer("One sunny day", add_special_tokens=False)["input_ids"]]
    generated = "".join(generator.generate(ids, 6))
    past, expected = empty_past(generator.card), list(ids)
    for _ in range(6):
        token = int(program(np.array([expected]), *past)[0][0, -1].argmax())
        if token == generator.card["end"]:
            break
        expected.append(token)
    whole = generator.tokenizer.decode(expected, skip_special_tokens=True)
    assert whole == f"{generator.tokenizer.decode(ids, skip_special_tokens=True)}{generated}"
    assert steps == [len(ids)] + [1] * (len(steps) - 1)
    "".join(generator.generate([*expected, 5, 6], 1))
    assert steps[-1] <= 4  # earlier tokens are not computed again


def test_lines_are_answered_until_the_input_ends(candidate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One day\n\nTom went\n"))
    output = io.StringIO()
    chat.chat(candidate, temperature=0.7, limit=4, seed=0, threads=1, console=Console(file=output))
    assert "It continues each line" in output.getvalue()
    assert "tokens/s" in output.getvalue()


def test_a_checkpoint_cannot_chat(home: Home) -> None:
    assert read_json(home.teacher / CARD)["task"] == "text"
    with pytest.raises(DataError, match="is a checkpoint, not an exported candidate"):
        chat.Generator(home.teacher, 1, 0, 0)


def test_a_sample_of_the_cache_is_shown_token_by_token(home: Home) -> None:
    output = io.StringIO()
    TEXT.inspect_sample(home.root, "train/000002", Console(file=output, width=140))
    assert "expected next" in output.getvalue()


def test_an_evaluation_with_another_tokenizer_is_resampled_and_has_no_divergence(home: Home, tmp_path: Path) -> None:
    """A champion's vocabulary is that of the data it was trained on."""
    evaluate.run(home.root, "teacher-main")
    other = tokenizers.train_bpe(["something else entirely, and then more of it"] * 3, 290)
    params: Any = config.load(home.root)
    checkpoint.save(Network(models.build_llama(params.networks["small"], other, 64, 0), other), tmp_path)
    write_json(tmp_path / CARD, TEXT.describe(tmp_path, params))
    measurement = TEXT.measure(tmp_path, TEXT.program(tmp_path, 1), Texts.load(home.root / "data"), "test", params)
    measurement.write(tmp_path)
    first = home.root / layout.evaluation("teacher-main")
    resampled = TEXT.resample([first, tmp_path])
    assert resampled.values.shape == (2, 1001)
    assert resampled.values[1, 0] == measurement.metrics["accuracy"]
    assert TEXT.relative(tmp_path, first, params) == {}
    words = [[text.figures.words for text in results.read(folder).texts.values()] for folder in (first, tmp_path)]
    assert words[0] == words[1]
