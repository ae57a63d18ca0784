"""Select images of a batch: the furthest from the reference, and those to label first (active learning)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from alambique.drift.two_sample_tests import standardised

MOST = 50
"""Images to be labelled, at most."""

UNCERTAIN = 4
"""The most diverse images are chosen among this many times as many most uncertain ones."""

NEIGHBOURS = 5


class Choice(NamedTuple):
    """An image worth labelling, by its place in the batch; the uncertainty is 0 to 1."""

    place: int
    uncertainty: float
    why: str


def mean_distances(reference: NDArray[np.float64], batch: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of each image's embedding from its nearest neighbours in the reference, (m,).

    Args:
        reference, batch: (n, d) and (m, d); dimensions are scaled by the reference's standard deviations.
    """
    known, new = standardised(reference), standardised(batch, reference)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(known))).fit(known)
    distances: NDArray[np.float64] = neighbours.kneighbors(new)[0].mean(axis=1)
    return distances


def worth_labelling(
    reference: NDArray[np.float64], batch: NDArray[np.float64], uncertainty: NDArray[np.float64], most: int = MOST
) -> list[Choice]:
    """Of the most uncertain images those furthest from the reference and from each other, furthest first.

    The greedy solution of the k-center problem, with the reference as initial centers (Sener & Savarese
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
    from_reference = distances.copy()
    chosen = []
    for _ in range(min(most, len(candidates))):
        furthest = int(distances.argmax())
        place = int(candidates[furthest])
        why = "the champion is unsure" if uncertainty[place] >= 0.5 else "the champion is less sure than elsewhere"
        if from_reference[furthest] > usual:  # further than 95 % of the reference's own images are from each other
            why += ", and nothing in the reference is similar"
        chosen.append(Choice(place, float(uncertainty[place]), why))
        distances = np.minimum(distances, np.linalg.norm(new - new[furthest], axis=1))
        distances[furthest] = -1
    return chosen
