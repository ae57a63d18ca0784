from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alambique.errors import DataError, IntegrityError
from alambique.evaluation import paired_bootstrap
from alambique.tasks.classifiers import results


def write(folder: Path, probabilities: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir()
    names = [f"test/{index:04d}" for index in range(len(labels))]
    results.write(folder, results.top_classes(names, labels, probabilities))
    return folder


def noisy(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Probabilities of which about `share` are wrong."""
    generator = np.random.default_rng(seed)
    said = np.where(generator.random(len(labels)) < share, (labels + 1) % 12, labels)
    return np.eye(12)[said] * 0.9 + 0.1 / 12


LABELS = np.random.default_rng(1).integers(12, size=300)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(12), 300)
    folder = write(tmp_path / "a", probabilities, LABELS)
    predictions = results.read(folder)
    assert predictions.classes.shape == (300, results.KEPT)
    assert (predictions.classes[:, 0] == probabilities.argmax(1)).all()
    assert np.allclose(predictions.probabilities[:, 0], probabilities.max(1))
    assert (predictions.labels == LABELS).all()
    assert predictions.correct.mean() == pytest.approx((probabilities.argmax(1) == LABELS).mean())


def test_a_difference_is_paired(tmp_path: Path) -> None:
    good, bad = (
        write(tmp_path / "a", noisy(LABELS, 0.2, 0), LABELS),
        write(tmp_path / "b", noisy(LABELS, 0.4, 1), LABELS),
    )
    interval = paired_bootstrap.headline(results.resample, good)
    assert interval.value == pytest.approx(results.read(good).correct.mean())
    assert interval.low < interval.value < interval.high
    gain = paired_bootstrap.gain(results.resample, [good], [bad])
    assert 0.1 < gain.value < 0.3
    assert gain.low > 0
    both = paired_bootstrap.intervals(results.resample, {"a": good, "b": bad}, [("a", "b"), ("b", "a"), ("a", "a")])
    assert both["a", "b"].value == pytest.approx(gain.value)
    assert both["b", "a"].low == pytest.approx(-both["a", "b"].high)
    assert both["a", "a"][:3] == (0, 0, 0)


def test_several_evaluations_have_a_mean_that_is_surer_than_each(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(seed), noisy(LABELS, 0.3, seed), LABELS) for seed in range(3)]
    alone = [paired_bootstrap.headline(results.resample, folder) for folder in folders]
    mean = paired_bootstrap.headline(results.resample, *folders)
    assert mean.value == pytest.approx(np.mean([interval.value for interval in alone]))
    assert mean.seeds == 3
    # What the three get wrong is drawn apart, so that each sample says more.
    assert mean.high - mean.low < 0.8 * min(interval.high - interval.low for interval in alone)


def test_its_interval_is_as_wide_as_theory_says(tmp_path: Path) -> None:
    interval = paired_bootstrap.headline(results.resample, write(tmp_path / "a", noisy(LABELS, 0.3, 0), LABELS))
    expected = 1.96 * np.sqrt(interval.value * (1 - interval.value) / len(LABELS))
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.15)


def test_other_samples_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "a", noisy(LABELS, 0.2, 0), LABELS)
    two = write(tmp_path / "b", noisy(LABELS, 0.2, 0), (LABELS + 1) % 12)
    with pytest.raises(DataError, match="not evaluated on the same samples"):
        paired_bootstrap.gain(results.resample, [one], [two])


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    table = pa.table({"sample": ["a"]})
    with pa.OSFile(str(tmp_path / results.RESULTS), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(IntegrityError, match="another version wrote it"):
        results.read(tmp_path)


def test_what_is_not_finite_is_wrong() -> None:
    probabilities = np.array([[np.nan, 1.0], [1.0, 0.0]])
    assert results.top_classes(["a", "b"], np.array([1, 0]), probabilities).correct.tolist() == [False, True]
