from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from alambique.errors import DataError, IntegrityError
from alambique.evaluation import paired_bootstrap
from alambique.tasks.yolo import average_precision, bootstrap, evaluate
from alambique.tasks.yolo.average_precision import Matched

CLASSES = 4


class Scene(NamedTuple):
    """What people drew in an image, and how hard each box is to find."""

    truth: np.ndarray
    hardness: np.ndarray


def scenes(number: int, seed: int = 0) -> list[Scene]:
    """The last class is only ever seen by networks; some images hold nothing."""
    chance = np.random.default_rng(seed)
    sizes = chance.integers(0, 6, number)
    return [Scene(chance.integers(CLASSES - 1, size=size), chance.random(size)) for size in sizes]


def network(images: list[Scene], quality: float, seed: int, step: float = 0.0) -> list[Matched]:
    """Finds the boxes that are not too hard for it, the easier the more exactly, and some that are not there.

    Args:
        step: scores are rounded to multiples of it, as an INT8 network's are.
    """
    chance = np.random.default_rng(seed)
    results = []
    for image in images:
        margin = quality - image.hardness + chance.normal(0, 0.1, len(image.truth))
        met = np.clip(np.ceil(margin * 15), 0, 10).astype(int)
        missing = chance.integers(0, 5)
        correct = np.arange(10) < np.concatenate([met, np.zeros(missing, int)])[:, None]
        scores = np.concatenate([chance.beta(4, 2, len(met)), chance.beta(2, 4, missing)]).astype(np.float32)
        if step:
            scores = np.rint(scores / step).astype(np.float32) * np.float32(step)
        classes = np.concatenate([image.truth, chance.integers(CLASSES, size=missing)])
        order = np.argsort(-scores, kind="stable")
        results.append(Matched(correct[order], scores[order], classes[order], image.truth))
    return results


def write(folder: Path, images: list[Matched]) -> Path:
    folder.mkdir(parents=True)
    rows = [
        {
            "image": f"test/{index}.png",
            "boxes": np.zeros((len(image.scores), 4)).tolist(),
            "scores": image.scores.tolist(),
            "classes": image.classes.tolist(),
            "correct": average_precision.pack(image.correct).tolist(),
            "truth": image.truth.tolist(),
        }
        for index, image in enumerate(images)
    ]
    evaluate.write_results(folder / "images.arrow", rows)
    return folder


def upstream(images: list[Matched]) -> float | None:
    value: float | None = average_precision.summarize(images, [str(index) for index in range(CLASSES)])["map50_95"]
    return value


def weighted(folder: Path, weights: np.ndarray) -> float:
    table = pa.ipc.open_file(folder / "images.arrow").read_all()
    boxes = bootstrap.truth(table)
    return bootstrap.mean_average_precision(bootstrap.rank(table, boxes.classes), bootstrap.draw(boxes, weights))


def test_thresholds_met_are_packed_into_bits_without_loss() -> None:
    correct = np.random.default_rng(0).random((50, 10)) < 0.5
    assert (average_precision.unpack(average_precision.pack(correct)) == correct).all()


@pytest.mark.parametrize("step", [0.0, 0.125])
@pytest.mark.parametrize("seed", range(5))
def test_map_of_the_split_itself_is_exactly_that_of_ultralytics(tmp_path: Path, seed: int, step: float) -> None:
    """Also where many scores are equal: the order among them is then the sorting's choice."""
    images = network(scenes(60, seed), 0.6, seed, step)
    assert weighted(write(tmp_path / "e", images), np.ones(60, int)) == upstream(images)


def test_weights_are_what_copies_of_the_images_would_be(tmp_path: Path) -> None:
    images = network(scenes(40), 0.6, seed=1)
    folder, chance = write(tmp_path / "e", images), np.random.default_rng(2)
    for _ in range(20):
        drawn = chance.integers(40, size=40)
        assert weighted(folder, np.bincount(drawn, minlength=40)) == upstream([images[index] for index in drawn])


def test_a_class_that_no_drawn_image_holds_is_left_out(tmp_path: Path) -> None:
    images = network(scenes(40), 0.6, seed=1)
    without = np.array([0 not in image.truth for image in images]).astype(int)
    assert weighted(write(tmp_path / "e", images), without) == upstream(
        [image for image, kept in zip(images, without, strict=True) if kept]
    )


def test_images_without_a_true_box_have_no_map(tmp_path: Path) -> None:
    images = network(scenes(40), 0.6, seed=1)
    empty = np.array([not len(image.truth) for image in images]).astype(int)
    assert np.isnan(weighted(write(tmp_path / "e", images), empty))


def test_a_network_that_finds_nothing_scores_zero(tmp_path: Path) -> None:
    nothing = Matched(np.zeros((0, 10), bool), np.zeros(0, np.float32), np.zeros(0, np.int64), np.array([0, 1]))
    assert weighted(write(tmp_path / "e", [nothing] * 3), np.ones(3, int)) == upstream([nothing] * 3) == 0


def test_the_interval_of_a_clear_gain_excludes_zero_and_a_swap_mirrors_it(tmp_path: Path) -> None:
    images = scenes(80)
    better, worse = (network(images, quality, seed=3) for quality in (0.8, 0.5))
    first, second = write(tmp_path / "better", better), write(tmp_path / "worse", worse)
    result, turned = (
        paired_bootstrap.gain(bootstrap.resample, [first], [second]),
        paired_bootstrap.gain(bootstrap.resample, [second], [first]),
    )
    assert result.value == pytest.approx(upstream(better) - upstream(worse))  # type: ignore[operator]
    assert 0 < result.low < result.value < result.high
    assert (turned.low, turned.high) == (pytest.approx(-result.high), pytest.approx(-result.low))
    assert (result.seeds, result.images) == (1, 80)
    assert paired_bootstrap.gain(bootstrap.resample, [first], [second]) == result


def test_the_interval_of_equal_networks_includes_zero(tmp_path: Path) -> None:
    images = scenes(80)
    first, second = (write(tmp_path / str(seed), network(images, 0.6, seed)) for seed in (1, 2))
    result = paired_bootstrap.gain(bootstrap.resample, [first], [second])
    assert result.low < 0 < result.high
    assert paired_bootstrap.gain(bootstrap.resample, [first], [first])[:3] == (0, 0, 0)


def test_pairing_keeps_the_hardness_of_the_images_out_of_the_interval(tmp_path: Path) -> None:
    """As it would not be if each side drew images of its own."""
    images = scenes(80)
    better = network(images, 0.8, seed=3)
    first, second = write(tmp_path / "better", better), write(tmp_path / "worse", network(images, 0.5, seed=3))
    result, chance = paired_bootstrap.gain(bootstrap.resample, [first], [second]), np.random.default_rng(0)
    alone = [weighted(first, np.bincount(chance.integers(80, size=80), minlength=80)) for _ in range(300)]
    low, high = np.quantile(alone, [0.025, 0.975])
    assert result.high - result.low < high - low


def test_several_seeds_widen_the_interval_by_the_chance_of_training(tmp_path: Path) -> None:
    """One lucky and one unlucky training: each alone seems sure of what the recipe is worth."""
    images = scenes(150)
    control = [write(tmp_path / f"control-{seed}", network(images, 0.6, seed)) for seed in (1, 2)]
    distilled = [
        write(tmp_path / f"distilled-{seed}", network(images, quality, seed)) for seed, quality in ((1, 0.85), (2, 0.5))
    ]
    lucky, unlucky = (
        paired_bootstrap.gain(bootstrap.resample, [one], [other]) for one, other in zip(distilled, control, strict=True)
    )
    assert lucky.low > 0 > unlucky.high
    both = paired_bootstrap.gain(bootstrap.resample, distilled, control)
    assert both.value == pytest.approx((lucky.value + unlucky.value) / 2)
    assert both.low < 0 < both.high
    assert both.high - both.low > max(lucky.high - lucky.low, unlucky.high - unlucky.low)
    assert both.seeds == 2


def test_evaluations_of_different_images_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "first", network(scenes(10), 0.6, seed=1))
    other = write(tmp_path / "other", network(scenes(11), 0.6, seed=1))
    with pytest.raises(DataError, match="not evaluated on the same images"):
        paired_bootstrap.gain(bootstrap.resample, [first], [other])
    with pytest.raises(DataError, match="not evaluated on the same images"):
        paired_bootstrap.gain(bootstrap.resample, [first, other], [first, other])


def test_evaluations_before_and_after_relabelling_are_refused(tmp_path: Path) -> None:
    images = network(scenes(10), 0.6, seed=1)
    first = write(tmp_path / "first", images)
    relabelled = write(tmp_path / "second", [images[0]._replace(truth=np.array([2, 2])), *images[1:]])
    with pytest.raises(DataError, match="not evaluated on the same images"):
        paired_bootstrap.gain(bootstrap.resample, [first], [relabelled])


def test_a_split_without_a_true_box_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "e", network([Scene(np.zeros(0, int), np.zeros(0))] * 3, 0.6, seed=1))
    with pytest.raises(DataError, match="no true box"):
        paired_bootstrap.gain(bootstrap.resample, [folder], [folder])


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    old = pa.table({"image": ["test/0.png"], "scores": [[0.5]]})
    with pa.OSFile(str(tmp_path / "images.arrow"), "wb") as file, pa.ipc.new_file(file, old.schema) as writer:
        writer.write_table(old)
    with pytest.raises(IntegrityError, match="run the evaluate stages again"):
        paired_bootstrap.gain(bootstrap.resample, [tmp_path], [tmp_path])


def test_the_interval_of_a_pair_is_the_gain_of_a_single_seed(tmp_path: Path) -> None:
    """Whatever else is resampled beside it."""
    images = scenes(40)
    folders = {name: write(tmp_path / name, network(images, 0.6, seed)) for seed, name in enumerate(("a", "b", "c"))}
    found = paired_bootstrap.intervals(bootstrap.resample, folders, [("a", "b"), ("b", "a"), ("c", "c")])
    assert found["a", "b"] == paired_bootstrap.gain(bootstrap.resample, [folders["a"]], [folders["b"]])
    assert found["b", "a"].low == pytest.approx(-found["a", "b"].high)
    assert found["c", "c"][:3] == (0, 0, 0)
    assert paired_bootstrap.intervals(bootstrap.resample, folders, []) == {}


def test_the_interval_is_that_of_the_normal_approximation_where_map_is_a_share(tmp_path: Path) -> None:
    """One certain box an image, found or not: mAP is the share found, up to the 101 recalls it is read at.

    The difference of two paired shares has the standard error √((b + c − (b − c)²/n)) / n, where b images are found by
    the first alone and c by the second alone (McNemar 1947).
    """
    n, chance = 600, np.random.default_rng(5)
    seen = [chance.random(n) < share for share in (0.8, 0.7)]
    folders = {
        str(side): write(tmp_path / str(side), [_certain(hit) for hit in hits]) for side, hits in enumerate(seen)
    }
    result = paired_bootstrap.intervals(bootstrap.resample, folders, [("0", "1")])["0", "1"]
    b, c = np.sum(seen[0] & ~seen[1]), np.sum(~seen[0] & seen[1])
    half = 1.96 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    assert result.value == pytest.approx((b - c) / n, abs=0.01)
    assert (result.high - result.low) / 2 == pytest.approx(half, rel=0.1)


def _certain(hit: bool) -> Matched:
    """The only box of an image, found exactly with full confidence, or not at all."""
    found = int(hit)
    scores, classes = np.ones(found, np.float32), np.zeros(found, np.int64)
    return Matched(np.ones((found, 10), bool), scores, classes, np.array([0]))


def test_a_thousand_resamples_of_five_thousand_images_take_less_than_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 detections each, on one core; a fiftieth of them is timed."""
    chance = np.random.default_rng(0)
    images = []
    for _ in range(5000):
        truth = chance.integers(80, size=7)
        correct = np.arange(10) < chance.integers(0, 11, (100, 1)) * (chance.random((100, 1)) < 0.07)
        scores = -np.sort(-chance.random(100).astype(np.float32))
        images.append(Matched(correct, scores, chance.integers(80, size=100), truth))
    folder = write(tmp_path / "e", images)
    monkeypatch.setattr(paired_bootstrap, "RESAMPLES", 0)
    start = time.process_time()
    bootstrap.resample([folder])
    once = time.process_time()
    monkeypatch.setattr(paired_bootstrap, "RESAMPLES", 20)
    bootstrap.resample([folder])
    end = time.process_time()
    assert (once - start) + 50 * ((end - once) - (once - start)) < 60
