"""A language model trained for a few steps in three ways, to be timed, and a token sized: see `benchmarks.text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from alambique.config.text import Distill, Network, Training
from alambique.demo.texts import Stories
from alambique.softlabels import schema, topk, writer
from alambique.tasks import training_loop
from alambique.tasks.training_loop import TrainingObjective
from alambique.tasks.transformers import models, objectives, sequences, soft_labels, tokenizers
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.import_dataset import import_dataset
from alambique.tasks.transformers.sequences import TokenSequence
from alambique.tasks.transformers.soft_labels import TokenRecipe, keep
from benchmarks.common import Row
from benchmarks.round_robin import Block, per_sample, step_times

VOCABULARY = 8192
STUDENT = Network(layers=4, hidden=256, heads=4, kv_heads=2, ffn=768)
TEACHER = Network(layers=9, hidden=512, heads=8, kv_heads=4, ffn=1536)
TOKENS = 128
"""Of each text."""
LARGE = 32_000
"""The vocabulary whose cache is sized."""
TOP_K = 50


def make_blocks(scratch: Path, batch: int, steps: int) -> dict[str, Block]:
    """What takes turns, by name: trainings of the same student on the same texts."""
    data, tokenizer, texts = corpus(scratch, batch * steps)
    teacher = models.build_llama(TEACHER, tokenizer, TOKENS, seed=1)
    teacher.eval()  # type: ignore[no-untyped-call]
    token_recipe = recipe(VOCABULARY, data)
    rows = {row.sample: row for row in soft_labels.predict([teacher], texts, token_recipe)}
    distilled = objectives.by_soft_labels(rows, token_recipe, Distill())
    alone = objectives.by_text(data, tokenizer, TOKENS)._replace(epoch_dataset=lambda _: texts)
    return {
        "plain": partial(_ours, alone, tokenizer, scratch, batch),
        "cached": partial(_ours, distilled, tokenizer, scratch, batch),
        "trl": partial(_trl, teacher, texts, tokenizer, scratch, batch),
    }


def corpus(scratch: Path, count: int) -> tuple[Texts, PreTrainedTokenizerFast, list[TokenSequence]]:
    """The demo's stories, told one after the other until each text fills its window; and a tokenizer of theirs.

    Its vocabulary is filled up with tokens that occur nowhere: they cost a model what others cost.
    """
    Stories(train=400, val=1, test=1, unlabelled=0).write(scratch / "stories")
    import_dataset(str(scratch / "stories"), scratch / "data")
    data = Texts.load(scratch / "data")
    tokenizer = tokenizers.train_bpe([text.text for text in data.training_texts()], 600)
    tokenizer.add_tokens([f"<token{number}>" for number in range(len(tokenizer), VOCABULARY)])
    ids = np.concatenate([text.ids for text in sequences.encode(data.texts("train"), tokenizer, TOKENS)])
    loss_mask = np.arange(TOKENS) > 0
    texts = [TokenSequence(f"train/{n:06d}", ids[n * TOKENS : (n + 1) * TOKENS], loss_mask) for n in range(count)]
    return data, tokenizer, texts


def recipe(vocabulary: int, data: Texts | None = None) -> TokenRecipe:
    """What decides a cache of `TOP_K` tokens."""
    return TokenRecipe(
        teachers=["0" * 64],
        combine="average",
        data={"train": data.digest("train")} if data else {},
        preprocessing={},
        top_k=TOP_K,
        classes=[],
        tokenizer="",
        vocabulary=vocabulary,
        max_tokens=TOKENS,
        temperature=1.0,
        prompt=None,
    )


def size(scratch: Path, tokens: int) -> Row:
    """What a token costs in the cache, and how far a divergence from it is from the whole one."""
    token_recipe, chance = recipe(LARGE), torch.Generator().manual_seed(0)
    folder = scratch / "shard"
    folder.mkdir()
    whole, bounds, rows = [], [], []
    for number in range(tokens // TOKENS):
        teacher, student = _simulated(chance)
        sequence = TokenSequence(f"train/{number:06d}", np.zeros(TOKENS, np.int64), np.arange(TOKENS) > 0)
        row = keep(sequence, teacher, token_recipe)
        rows.append(row)
        first, second = teacher.double().log_softmax(-1), student.double().log_softmax(-1)
        whole.append(float((first.exp() * (first - second)).sum(-1).mean()))
        kept = topk.teacher_events(
            torch.from_numpy(row.log_probabilities), torch.from_numpy(row.log_remaining_mass), 1.0
        )
        places = torch.from_numpy(row.tokens.astype(np.int64))
        bounds.append(float(objectives.divergence(kept, topk.student_events(student, places, 1.0), "forward")))
    writer.write(folder, rows, token_recipe, 0, 1)
    cached = (folder / schema.SHARD).stat().st_size / tokens
    ratio, kl, bound = 2 * LARGE / cached, float(np.mean(whole)), float(np.mean(bounds))
    return Row(
        "dense_over_cached",
        *(ratio, ratio, ratio, tokens),
        "≥ 300",
        {"bytes_per_token": cached, "top_k": TOP_K, "kl": kl, "kl_cached": bound, "bias": (bound - kl) / kl},
    )


def _simulated(chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits of a teacher and of a student that errs, (tokens, vocabulary)."""
    steep = 1.2 + 1.8 * torch.rand(TOKENS, 1, generator=chance)
    ranks = torch.arange(1, LARGE + 1).log()
    order = torch.rand(TOKENS, LARGE, generator=chance).argsort(-1)
    teacher = torch.empty(TOKENS, LARGE).scatter(-1, order, -steep * ranks)
    return teacher, teacher + torch.randn(TOKENS, LARGE, generator=chance)


def _student(tokenizer: PreTrainedTokenizerFast) -> nn.Module:
    return models.build_llama(STUDENT, tokenizer, TOKENS, seed=0)


def _ours(objective: TrainingObjective, tokenizer: PreTrainedTokenizerFast, scratch: Path, batch: int) -> float:
    steps = len(objective.epoch_dataset(0)) // batch
    settings = Training(batch=batch, learning_rate=1e-3, val_interval=steps, patience=None)
    with step_times() as times:
        training_loop.train(
            _student(tokenizer),
            objective,
            scratch,
            steps=steps,
            training=settings,
            seed=0,
            measure=lambda _: {"none": 0.0},
        )
    return per_sample(times, batch * TOKENS)


def _trl(
    teacher: nn.Module, texts: Sequence[TokenSequence], tokenizer: PreTrainedTokenizerFast, scratch: Path, batch: int
) -> float:
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    settings = GKDConfig(
        output_dir=str(scratch / "trl"),
        per_device_train_batch_size=batch,
        num_train_epochs=1,
        learning_rate=1e-3,
        lmbda=0.0,
        beta=0.0,
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        seed=0,
    )
    trainer = GKDTrainer(
        model=_student(tokenizer),
        teacher_model=teacher,
        args=settings,
        data_collator=_collate,
        train_dataset=Dataset.from_dict({"input_ids": [each.ids.tolist() for each in texts]}),
        processing_class=tokenizer,
    )
    with step_times() as times:
        trainer.train()
    return per_sample(times, batch * TOKENS)


def _collate(batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    ids = torch.tensor([each["input_ids"] for each in batch])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
