from __future__ import annotations

import numpy as np

from alambique.drift.label_selection import mean_distances, worth_labelling

CHANCE = np.random.default_rng(0)
REFERENCE = CHANCE.normal(size=(100, 4))


def test_what_is_far_from_the_reference_is_strange() -> None:
    batch = np.concatenate([REFERENCE[:10], np.full((1, 4), 9.0)])
    found = mean_distances(REFERENCE, batch)
    assert found.argmax() == 10
    assert found[10] > 5 * found[:10].max()


def test_certain_images_are_not_asked_for() -> None:
    batch = CHANCE.normal(size=(400, 4))
    uncertainty = np.where(np.arange(400) % 2, 0.9, 0.1)
    chosen = worth_labelling(REFERENCE, batch, uncertainty, most=50)
    assert len(chosen) == 50
    assert all(choice.place % 2 for choice in chosen)


def test_of_near_duplicates_one_is_enough() -> None:
    centers = np.array([[8.0, 0, 0, 0], [0, 8.0, 0, 0], [0, 0, 8.0, 0]])
    batch = np.repeat(centers, 4, axis=0) + CHANCE.normal(0, 0.01, (12, 4))
    chosen = worth_labelling(REFERENCE, batch, np.full(12, 0.8), most=3)
    assert {choice.place // 4 for choice in chosen} == {0, 1, 2}


def test_the_reason_says_whether_the_reference_has_similar_images() -> None:
    batch = np.concatenate([np.full((1, 4), 9.0), REFERENCE[:1]])
    far, near = worth_labelling(REFERENCE, batch, np.array([0.8, 0.7]))
    assert far.place == 0 and "nothing in the reference is similar" in far.why
    assert near.place == 1 and near.why == "the champion is unsure"


def test_no_image_is_named_twice() -> None:
    chosen = worth_labelling(REFERENCE, np.zeros((5, 4)), np.full(5, 0.5))
    assert sorted(choice.place for choice in chosen) == [0, 1, 2, 3, 4]
