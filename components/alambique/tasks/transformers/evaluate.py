"""Measure a subject on a split: every subject foretells the same tokens, a candidate on its own runtime."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alambique import layout
from alambique.config.text import Params
from alambique.errors import DataError, IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CARD, DATA, EvaluationTarget
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders, measuring, results, sequences
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text.predict import Predictor, load
from alambique.tasks.text.results import Foretold
from alambique.tasks.text.sequences import TokenSequence

PARITY = 16
"""The test sequences that a candidate and its checkpoint answer both."""


def evaluate(project: Path, params: Params, subject: str, target: Path) -> Metrics:
    """Measure a subject on the test split; see `alambique.tasks.Task.evaluate`.

    Returns:
        accuracy, perplexity, tokens; and what every task's evaluations say.
    Raises:
        IntegrityError: the subject is not what its card says, or is not made of the checkpoint beside it.
        DataError: the test split holds nothing to foretell.
    """
    parsed = EvaluationTarget.parse(subject)
    folder = project / parsed.folder
    if parsed.kind == "champion" and not (folder / CARD).exists():
        return {"subject": subject, "present": False}
    data = Texts.load(project / DATA)
    metrics, rows, vocabulary = measure(folder, data, "test", params.evaluate.top_k)
    results.write(target / results.RESULTS, rows, vocabulary)
    if parsed.kind == "teacher":  # the report shows tokens as text, and has no model at hand
        shutil.copyfile(folder / folders.MODEL / tokenizers.FILE, target / tokenizers.FILE)
    found: Metrics = {"subject": subject, "present": True, **metrics}
    if parsed.kind == "candidate":
        checkpoint = project / layout.checkpoint(str(parsed.student), "pruned")
        found["parity"] = parity(folder, checkpoint, encoded(folder, data, "test")[:PARITY])
    return found


def measure(folder: Path, data: Texts, split: str, top_k: int) -> tuple[Metrics, dict[str, Foretold], int]:
    """Let a checkpoint or candidate foretell a split.

    Returns:
        the metrics; what was found of each sequence; and how many tokens it knows.
    """
    card, own = read_card(folder), encoded(folder, data, split)
    rows = foretell(load(folder, torch.get_num_threads()), own, top_k)
    metrics = {
        "split": split,
        "data": data.digest(split),
        "images": len(data.texts(split)),
        **figures(rows),
        **_identity(card),
    }
    return metrics, rows, card["vocabulary"]


def figures(rows: dict[str, Foretold]) -> dict[str, float]:
    """Accuracy and perplexity over all tokens."""
    tokens = sum(len(row.truth) for row in rows.values())
    nats = sum(float(row.nats.sum(dtype=float)) for row in rows.values())
    right = sum(int(row.right.sum()) for row in rows.values())
    return {"accuracy": right / tokens, "perplexity": measuring.perplexity(nats / tokens), "tokens": tokens}


def foretell(predict: Predictor, own: Sequence[TokenSequence], top_k: int) -> dict[str, Foretold]:
    """What is found of each sequence."""
    return {each.name: _foretold(predict, each, top_k) for each in own}


def encoded(folder: Path, data: Texts, split: str) -> list[TokenSequence]:
    """A split in the tokens of a checkpoint or candidate.

    Raises:
        DataError: there is nothing to foretell.
    """
    inner = folder / folders.MODEL
    tokenizer = tokenizers.load(inner if inner.is_dir() else folder)
    own = sequences.encode(data.texts(split), tokenizer, read_card(folder)["max_tokens"])
    if not own:
        raise DataError(f"{data.root} has no {split} texts of two tokens; every subject is measured on them: add some")
    return own


def parity(artifact: Path, source: Path, own: Sequence[TokenSequence]) -> Metrics:
    """How far an artifact answers as the checkpoint it was made from: probabilities, and the likeliest tokens.

    Raises:
        IntegrityError: it was made from another.
    """
    made_of, found = read_card(artifact)["checkpoint_sha256"], read_card(source)["sha256"]
    if made_of != found:
        raise IntegrityError(
            f"{artifact} was made from the checkpoint {made_of[:12]}, but {source} holds {found[:12]}; "
            "make the artifact again (`dvc repro` of its export or quantize stage)"
        )
    threads = torch.get_num_threads()
    first, second = (load(folder, threads) for folder in (artifact, source))
    furthest, same, tokens = 0.0, 0, 0
    for each in own:
        one, other = (torch.from_numpy(np.array(predict(each.ids))).softmax(-1) for predict in (first, second))
        furthest = max(furthest, float((one - other).abs().max()))
        same += int((one.argmax(-1) == other.argmax(-1)).sum())
        tokens += len(each.ids)
    return {
        "images": len(own),
        "max_score_difference": furthest,
        "max_box_difference": None,
        "agreement": same / tokens,
    }


def _foretold(predict: Predictor, sequence: TokenSequence, top_k: int) -> Foretold:
    places = np.flatnonzero(sequence.learned)
    return results.judge(predict(sequence.ids)[places - 1], sequence.ids[places], top_k)


def _identity(card: dict[str, Any]) -> Metrics:
    """What was measured, from its verified card."""
    metrics = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**metrics, "candidate": card["candidate"], "digest": card["digest"]}
    return {**metrics, "sha256": card["sha256"]}
