"""How far a subject is from its teacher, by the likeliest tokens that both evaluations kept of each test token."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.evaluation.measures import Metrics
from alambique.tasks.text import results
from alambique.tasks.text.losses import EMPTY
from alambique.tasks.text.results import Foretold

CHUNK = 4096


def relative(subject: Path, teacher: Path) -> Metrics:
    """kl, nats a token, and agreement; see `alambique.tasks.Task.relative`.

    KL(teacher ‖ subject) over the teacher's likeliest tokens and all others as one. What the subject gives to a token
    that is not among its own likeliest is not known: its rest, spread evenly, stands for it.

    Raises:
        DataError: the evaluations are not about the same tokens.
        IntegrityError: an evaluation was written by another version.
    """
    (mine, vocabulary), (theirs, _) = results.read(subject), results.read(teacher)
    results.require_same({teacher: theirs, subject: mine})
    student, expected = _joined(mine), _joined(theirs)
    parts = (slice(start, start + CHUNK) for start in range(0, len(student.truth), CHUNK))
    kl = [_kl(_part(expected, part), _part(student, part), vocabulary) for part in parts]
    agree = float((student.tokens[:, 0] == expected.tokens[:, 0]).mean())
    return {"kl": max(float(np.concatenate(kl).mean()), 0.0), "agreement": agree}


def _joined(rows: Mapping[str, Foretold]) -> Foretold:
    """All sequences' tokens in one."""
    columns: list[Any] = [np.concatenate(column) for column in zip(*rows.values(), strict=True)]
    return Foretold(*columns)


def _part(rows: Foretold, part: slice) -> Foretold:
    columns: list[Any] = [column[part] for column in rows]
    return Foretold(*columns)


def _kl(teacher: Foretold, student: Foretold, vocabulary: int) -> NDArray[np.float64]:
    """Of each token, (n,)."""
    others = max(vocabulary - student.tokens.shape[1], 1)
    unknown = student.rest.astype(float) - np.log(others)
    same = teacher.tokens[:, :, None] == student.tokens[:, None, :]
    kept = student.logits.astype(float)
    known = np.where(same, kept[:, None, :], -np.inf).max(-1)
    given = np.where(same.any(-1), known, unknown[:, None])
    missed = (~same.any(-1)).sum(-1) * np.exp(unknown)
    rest = np.exp(student.rest.astype(float)) + np.where(same.any(1), 0, np.exp(kept)).sum(-1) - missed
    rest = np.log(np.clip(rest, np.exp(-700), None))
    first = np.concatenate((teacher.logits.astype(float), teacher.rest.astype(float)[:, None]), -1)
    second = np.concatenate((given, np.maximum(rest, EMPTY)[:, None]), -1)
    first -= np.log(np.exp(first).sum(-1, keepdims=True))
    second -= np.log(np.exp(second).sum(-1, keepdims=True))
    kl: NDArray[np.float64] = (np.exp(first) * (first - second)).sum(-1)
    return kl
