"""Measure a subject on a split: every subject reads the same texts, a candidate on its own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from alambique import layout
from alambique.config.text_classify import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CARD, DATA, EvaluationTarget
from alambique.tasks.cards import read_card
from alambique.tasks.classification import metrics, parity, results
from alambique.tasks.engines import Engine
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers
from alambique.tasks.text.data import Texts
from alambique.tasks.text_classify import encoding
from alambique.tasks.text_classify.encoding import Encoded
from alambique.tasks.text_classify.predict import load

CONFUSION = "confusion.json"


def evaluate(project: Path, params: Params, subject: str, target: Path) -> Metrics:
    """Measure a subject on the test split; see `alambique.tasks.Task.evaluate`.

    Raises:
        IntegrityError: the subject is not what its card says, or is not made of the checkpoint beside it.
        DataError: the test split is empty, or one of its texts has no label.
    """
    parsed = EvaluationTarget.parse(subject)
    folder = project / parsed.folder
    if parsed.kind == "champion" and not (folder / CARD).exists():
        return {"subject": subject, "present": False}
    data, card = Texts.load(project / DATA), read_card(folder)
    own = encoded(folder, data, "test")
    chances = probabilities(load(folder, torch.get_num_threads()), own)
    truth = np.array([each.label for each in own])
    results.write(target, results.answers([each.name for each in own], truth, chances))
    counts = metrics.confusion(chances.argmax(1), truth, len(data.classes))
    write_json(target / CONFUSION, {"classes": data.classes, "counts": counts.tolist()})
    found: Metrics = {
        "subject": subject,
        "present": True,
        "split": "test",
        "data": data.digest("test"),
        "images": len(own),
        **metrics.summarize(chances, truth, data.classes),
        **_identity(card),
    }
    if parsed.kind == "candidate":
        found["parity"] = _parity(
            folder, project / layout.checkpoint(str(parsed.student), "pruned"), own[: parity.SAMPLES], chances
        )
    return found


def encoded(folder: Path, data: Texts, split: str) -> list[Encoded]:
    """A split in the tokens of a checkpoint or candidate.

    Raises:
        IntegrityError: it tells other classes apart than today's.
        DataError: the split is empty, or one of its texts has no label.
    """
    card, inner = read_card(folder), folder / folders.MODEL
    if card["classes"] != data.classes:
        raise IntegrityError(
            f"{folder} tells {card['classes']} apart, but the dataset's classes are {data.classes}; make it again from "
            "today's data (`dvc repro`)"
        )
    tokenizer = tokenizers.load(inner if inner.is_dir() else folder)
    return encoding.labelled(data, split, tokenizer, card["max_tokens"])


def probabilities(predict: Engine, own: Sequence[Encoded]) -> NDArray[np.float64]:
    """Of all classes, one text at a time, (texts, classes)."""
    logits = np.concatenate([predict(each.ids[np.newaxis]) for each in own]).astype(np.float64)
    chances: NDArray[np.float64] = softmax(logits, axis=1)
    return chances


def _parity(artifact: Path, source: Path, own: Sequence[Encoded], chances: NDArray[np.float64]) -> Metrics:
    """How far an artifact answers as the checkpoint it was made from; `chances` begins with what it made of `own`.

    Raises:
        IntegrityError: it was made from another.
    """
    made_of, found = read_card(artifact)["checkpoint_sha256"], read_card(source)["sha256"]
    if made_of != found:
        raise IntegrityError(
            f"{artifact} was made from the checkpoint {made_of[:12]}, but {source} holds {found[:12]}; "
            "make the artifact again (`dvc repro` of its export or quantize stage)"
        )
    return parity.parity(chances[: len(own)], probabilities(load(source, torch.get_num_threads()), own))


def _identity(card: dict[str, Any]) -> Metrics:
    """What was measured, from its verified card."""
    found = {key: card.get(key) for key in ("parameters", "macs", "size_bytes")}
    if "runtime" in card:
        return {**found, "candidate": card["candidate"], "digest": card["digest"]}
    return {**found, "sha256": card["sha256"]}
