"""The projects of `benchmarks.text`: questions of 77 intents, with few labels and with all, and a Llama's stories."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alambique.demo.texts import Intents, Stories
from alambique.errors import DataError
from alambique.tasks.transformers import models, tokenizers
from alambique.tasks.transformers.checkpoint import require_fit
from alambique.tasks.transformers.dataset import Text, Texts, class_labels, write
from alambique.tasks.transformers.import_dataset import import_labelled
from alambique.tasks.transformers.split_texts import disjoint
from benchmarks import stage_runs

KEEP = 5
"""One in so many texts keeps its label where labels are scarce."""
SETTINGS = {"scarce": KEEP, "full": 1}
LARGE = {"layers": 3, "hidden": 192, "heads": 4, "ffn": 768}
SMALL = {"layers": 2, "hidden": 96, "heads": 2, "ffn": 384, "weights": None}
LLAMA = {"layers": 3, "hidden": 48, "heads": 6, "kv_heads": 3, "ffn": 128}
TOKENS = 176
"""Of a story at most."""


class Scale(NamedTuple):
    """How large the benchmark is.

    Attributes:
        steps: of students and controls.
        teacher_steps: however many labels are known.
        recovery: steps after pruning.
        seeds: of students and controls.
        stories: that a language model learns from; a sixth as many are for val and test each.
        story_steps: of language models, their controls, and after pruning.
    """

    steps: int = 4215
    teacher_steps: int = 1686
    recovery: int = 843
    seeds: tuple[int, ...] = (0, 1, 2)
    stories: int = 1200
    story_steps: int = 450


QUICK = Scale(3, 3, 3, (0,), 48, 6)


def given(data: Path | None, weights: Path | None, scratch: Path, quick: bool) -> Texts:
    """The questions of a run, with all their labels.

    Raises:
        DataError: a full run lacks them, or the Llama.
    """
    if quick:
        Intents(train=120, val=24, test=48, unlabelled=0).write(scratch / "source")
        data = scratch / "source"
    if data is None or (not quick and (weights is None or not weights.is_dir())):
        raise DataError(
            f"the full benchmark trains on real texts (--data is {data}) and from a real Llama (--weights is "
            f"{weights}); give --data PATH, such as banking77's folder, and --weights PATH, such as stories260K's"
        )
    import_labelled(str(data), scratch / "imported")
    return Texts.load(scratch / "imported")


def lay_out(folder: Path, source: Texts, weights: Path | None, scale: Scale) -> list[Path]:
    """The projects, in `folder`.

    Args:
        source: the questions with all their labels.
        weights: the Llama that tells stories; None: the demo's are told, and a Llama learns them first.
    """
    for name, keep in SETTINGS.items():
        stage_runs.lay_out(folder / name, "text_classify", partial(_questions, source, keep), changes(scale))
    told = partial(written, weights, scale) if weights else _demo
    stage_runs.lay_out(folder / "stories", "text", told, story_changes(weights, scale))
    return [folder / name for name in (*SETTINGS, "stories")]


def split(source: Texts, keep: int) -> dict[str, list[Text]]:
    """The texts by split, when one in `keep` of a class's train texts, in their order there, keeps its label."""
    parts = {name: source.texts(name) for name in ("train", "val", "test")}
    seen = dict.fromkeys(source.classes, 0)
    known: list[Text] = []
    unknown: list[Text] = []
    for text in parts["train"]:
        number = seen[str(text.label)]
        seen[str(text.label)] += 1
        if number % keep:
            unknown.append(text._replace(label=None))
        else:
            known.append(text)
    parts["train"] = known
    # The same words may stand in train twice, with and without a label now.
    return disjoint({**parts, "unlabelled": unknown}) if unknown else parts


def changes(scale: Scale) -> dict[str, Any]:
    """What params.yaml of both settings has other than the defaults."""
    return {
        "input_size": 32,
        "seeds": list(scale.seeds),
        "networks": {"small": SMALL},
        "teacher": {"main": {"network": LARGE, "pretrain_steps": 0, "steps": scale.teacher_steps}},
        "soft_labels": {"shards": [0]},
        "training": {"learning_rate": 0.001, "vocabulary": 2000},
        "distill": {"steps": scale.steps, "temperature": 1.0, "weight": 0.9},
        "prune": {"steps": scale.recovery},
        "validation": {"min_texts_per_class": 0},
    }


def story_changes(weights: Path | None, scale: Scale) -> dict[str, Any]:
    """What the language model's params.yaml has other than the defaults."""
    taken: dict[str, Any] = {"steps": scale.story_steps}
    if weights:
        taken = {"source": "fetch", "weights": str(weights.resolve())}
    return {
        "input_size": TOKENS,
        "seeds": list(scale.seeds),
        "networks": {"small": {**LLAMA, "weights": None}},
        "teacher": {"main": taken},
        "soft_labels": {"shards": [0]},
        "training": {"batch": 8, "learning_rate": 0.004},
        "distill": {"steps": scale.story_steps},
        "prune": {"steps": scale.story_steps},
    }


def written(weights: Path, scale: Scale, target: Path) -> None:
    """Texts that a Llama writes when nobody asks, each once."""
    known = tokenizers.load(weights)
    model: Any = models.load_causal(weights)
    require_fit(model, weights, known, TOKENS)
    parts = {"train": scale.stories, "val": scale.stories // 6, "test": scale.stories // 6}
    texts: dict[str, None] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        while len(texts) < sum(parts.values()):
            begun = torch.full((100, 1), known.bos_token_id)
            some = model.generate(
                begun,
                attention_mask=torch.ones_like(begun),
                max_new_tokens=TOKENS - 16,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                pad_token_id=known.pad_token_id,
            )
            texts |= dict.fromkeys(text.strip() for text in known.batch_decode(some, skip_special_tokens=True))
    texts.pop("", None)
    order = iter(texts)
    target.mkdir(parents=True)
    for name, count in parts.items():
        lines = [json.dumps({"text": next(order)}) + "\n" for _ in range(count)]
        (target / f"{name}.jsonl").write_text("".join(lines))


def _demo(target: Path) -> None:
    Stories(train=48, val=8, test=8, unlabelled=0).write(target)


def _questions(source: Texts, keep: int, target: Path) -> None:
    parts = split(source, keep)
    write(target, parts, class_labels(parts))
