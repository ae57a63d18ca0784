from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alambique.errors import DataError, IntegrityError
from alambique.evaluation import paired_bootstrap
from alambique.tasks.classification import results
from alambique.tasks.classification.parity import parity


def write(folder: Path, chances: np.ndarray, truth: np.ndarray) -> Path:
    folder.mkdir()
    names = [f"test/{index:04d}" for index in range(len(truth))]
    results.write(folder, results.answers(names, truth, chances))
    return folder


def noisy(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Probabilities of which about `share` are wrong."""
    generator = np.random.default_rng(seed)
    said = np.where(generator.random(len(truth)) < share, (truth + 1) % 12, truth)
    return np.eye(12)[said] * 0.9 + 0.1 / 12


TRUTH = np.random.default_rng(1).integers(12, size=300)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    chances = np.random.default_rng(0).dirichlet(np.ones(12), 300)
    folder = write(tmp_path / "a", chances, TRUTH)
    found = results.read(folder)
    assert found.classes.shape == (300, results.KEPT)
    assert (found.classes[:, 0] == chances.argmax(1)).all()
    assert np.allclose(found.chances[:, 0], chances.max(1))
    assert (found.truth == TRUTH).all()
    assert found.right.mean() == pytest.approx((chances.argmax(1) == TRUTH).mean())


def test_a_difference_is_paired(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "a", noisy(TRUTH, 0.2, 0), TRUTH), write(tmp_path / "b", noisy(TRUTH, 0.4, 1), TRUTH)
    own = paired_bootstrap.headline(results.resample, good)
    assert own.value == pytest.approx(results.read(good).right.mean())
    assert own.low < own.value < own.high
    gain = paired_bootstrap.gain(results.resample, [good], [bad])
    assert 0.1 < gain.value < 0.3
    assert gain.low > 0
    both = paired_bootstrap.intervals(results.resample, {"a": good, "b": bad}, [("a", "b"), ("b", "a"), ("a", "a")])
    assert both["a", "b"].value == pytest.approx(gain.value)
    assert both["b", "a"].low == pytest.approx(-both["a", "b"].high)
    assert both["a", "a"][:3] == (0, 0, 0)


def test_several_evaluations_have_a_mean_that_is_surer_than_each(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(seed), noisy(TRUTH, 0.3, seed), TRUTH) for seed in range(3)]
    alone = [paired_bootstrap.headline(results.resample, folder) for folder in folders]
    mean = paired_bootstrap.headline(results.resample, *folders)
    assert mean.value == pytest.approx(np.mean([each.value for each in alone]))
    assert mean.seeds == 3
    # What the three get wrong is drawn apart, so that each sample says more.
    assert mean.high - mean.low < 0.8 * min(each.high - each.low for each in alone)


def test_its_interval_is_as_wide_as_theory_says(tmp_path: Path) -> None:
    own = paired_bootstrap.headline(results.resample, write(tmp_path / "a", noisy(TRUTH, 0.3, 0), TRUTH))
    expected = 1.96 * np.sqrt(own.value * (1 - own.value) / len(TRUTH))
    assert (own.high - own.low) / 2 == pytest.approx(expected, rel=0.15)


def test_other_samples_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "a", noisy(TRUTH, 0.2, 0), TRUTH)
    two = write(tmp_path / "b", noisy(TRUTH, 0.2, 0), (TRUTH + 1) % 12)
    with pytest.raises(DataError, match="not evaluated on the same samples"):
        paired_bootstrap.gain(results.resample, [one], [two])


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    table = pa.table({"sample": ["a"]})
    with pa.OSFile(str(tmp_path / results.RESULTS), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(IntegrityError, match="another version wrote it"):
        results.read(tmp_path)


def test_what_is_no_number_is_wrong(tmp_path: Path) -> None:
    chances = np.array([[np.nan, 1.0], [1.0, 0.0]])
    assert results.answers(["a", "b"], np.array([1, 0]), chances).right.tolist() == [False, True]


def test_parity_tells_how_far_two_answer_alike() -> None:
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    two = np.array([[0.8, 0.2], [0.45, 0.55], [0.2, 0.8]])
    found = parity(one, two)
    assert found["images"] == 3
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["max_score_difference"] == pytest.approx(0.15)
    assert parity(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]]))["max_score_difference"] is None
