"""How far a difference in next-token accuracy can be trusted: a bootstrap paired over test sequences and seeds.

Tokens of a text hang together, so that whole sequences are drawn, the same ones for every evaluation. Seeds, where
there are several, are drawn beside them: see `alambique.tasks.detect.bootstrap`, whose reasoning and limits are the
same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.tasks import Interval
from alambique.tasks.text import results

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""Of the resampling itself: equal evaluations give equal intervals."""


def intervals(evaluations: Mapping[str, Path], pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], Interval]:
    """Accuracy of the first of each pair minus that of the second; see `alambique.tasks.Task.intervals`.

    Raises:
        DataError: the evaluations are not about the same tokens.
        IntegrityError: an evaluation was written by another version.
    """
    if not pairs:
        return {}
    values, texts = resample(list(evaluations.values()))
    named = dict(zip(evaluations, values, strict=True))
    return {(first, second): _interval(named[first] - named[second], 1, texts) for first, second in pairs}


def gain(first: Sequence[Path], second: Sequence[Path]) -> Interval:
    """Accuracy of `first` minus that of `second`; see `alambique.tasks.Task.gain`.

    Raises:
        as `intervals`.
    """
    seeds = len(first)
    values, texts = resample([*first, *second])
    differences = values[:seeds] - values[seeds:]
    chance = np.random.default_rng([SEED, 1])  # another stream than that of the texts
    times = chance.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    drawn = np.vstack([np.ones(seeds), times])  # as they are, then as each resample draws them
    return _interval((differences * drawn.T).sum(axis=0) / seeds, seeds, texts)


def headline(folder: Path) -> Interval:
    """Accuracy of one evaluation; see `alambique.tasks.Task.headline`.

    Raises:
        as `intervals`.
    """
    values, texts = resample([folder])
    return _interval(values[0], 1, texts)


def resample(folders: Sequence[Path]) -> tuple[NDArray[np.float64], int]:
    """Accuracy on the test sequences as they are, then on `RESAMPLES` resamples of them.

    Returns:
        (evaluations, 1 + RESAMPLES); and the number of sequences.
    Raises:
        as `intervals`.
    """
    tables = {folder: results.read(folder)[0] for folder in folders}
    results.require_same(tables)
    first = tables[folders[0]]
    tokens = np.array([len(row.truth) for row in first.values()], float)
    right = np.array([[row.right.sum() for row in tables[folder].values()] for folder in folders], float)
    chance, texts = np.random.default_rng(SEED), len(tokens)
    weights = chance.multinomial(texts, [1 / texts] * texts, size=RESAMPLES)
    drawn = np.vstack([np.ones(texts), weights]).T
    return (right @ drawn) / (tokens @ drawn), texts


def _interval(differences: NDArray[np.float64], seeds: int, texts: int) -> Interval:
    """Of a difference on the sequences as they are, followed by those on each resample."""
    low, high = np.quantile(differences[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(differences[0]), float(low), float(high), seeds, texts)
