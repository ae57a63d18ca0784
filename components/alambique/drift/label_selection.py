"""Which images of a batch people should look at: the least like the reference, and those most worth a label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from alambique.drift.two_sample_tests import standardised

MOST = 50
"""Images that people are asked to label."""

UNCERTAIN = 4
"""Of so many times as many, the most uncertain ones, the most diverse are chosen."""

NEIGHBOURS = 5


class Choice(NamedTuple):
    """An image worth labelling.

    Attributes:
        place: in the batch.
        uncertainty: 0 to 1.
        why: in words.
    """

    place: int
    uncertainty: float
    why: str


def strangeness(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of each image's embedding from the nearest ones of the reference, (m,).

    Args:
        reference, batch: (n, d) and (m, d); dimensions count alike, by the reference's standard deviations.
    """
    known, new = standardised(reference), standardised(batch, reference)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known))).fit(known)
    distances: NDArray[np.float64] = neighbours.kneighbors(new)[0].mean(axis=1)
    return distances


def worth_labelling(
    reference: NDArray[np.float64], batch: NDArray[np.float64], uncertainty: NDArray[np.float64], most: int = MOST
) -> list[Choice]:
    """Among the most uncertain images those that lie furthest from the reference and from each other, furthest first.

    The greedy solution of the k-center problem, with the reference as the centers that are there (Sener & Savarese
    2018, Active Learning for Convolutional Neural Networks: A Core-Set Approach, algorithm 1).

    Args:
        reference, batch: embeddings, (n, d) and (m, d).
        uncertainty: of each image of the batch, (m,).
    """
    candidates = np.argsort(-uncertainty, kind="stable")[: UNCERTAIN * most]
    known, new = standardised(reference), standardised(batch, reference)[candidates]
    near = NearestNeighbors(n_neighbors=1).fit(known)
    usual = float(np.quantile(NearestNeighbors(n_neighbors=2).fit(known).kneighbors(known)[0][:, 1], 0.95))
    distances = near.kneighbors(new)[0][:, 0]
    alone = distances.copy()
    chosen = []
    for _ in range(min(most, len(candidates))):
        furthest = int(distances.argmax())
        place, distance = int(candidates[furthest]), float(alone[furthest])
        chosen.append(Choice(place, float(uncertainty[place]), _why(float(uncertainty[place]), distance, usual)))
        distances = np.minimum(distances, np.linalg.norm(new - new[furthest], axis=1))
        distances[furthest] = -1
    return chosen


def _why(doubt: float, distance: float, usual: float) -> str:
    """Args: distance: from the nearest image of the reference; usual: 95 % of the reference's own are nearer."""
    unsure = "the champion is unsure" if doubt >= 0.5 else "the champion is less sure than elsewhere"
    return f"{unsure}, and nothing in the reference looks like it" if distance > usual else unsure
