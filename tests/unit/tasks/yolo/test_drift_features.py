from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from factories import checkpoints, tiny_detection
from factories.stage_work import load
from factories.trained_networks import trained

from alambique.config.detect import Evaluate
from alambique.errors import IntegrityError
from alambique.layout import WEIGHTS
from alambique.tasks.yolo import network
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.drift_features import extract, uncertainty
from alambique.tasks.yolo.preprocess import preprocess

SCORES = np.array([0.9, 0.5, 0.2, 0.1])


@pytest.fixture(scope="module", params=sorted(tiny_detection.FAMILIES))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    network.save(trained(tiny_detection.FAMILIES[request.param], tiny_detection.CLASSES), folder / WEIGHTS, 64)
    checkpoints.write_card(folder, "pruned")
    return folder


def test_predictions_are_those_that_are_measured(checkpoint: Path, scenes: Path) -> None:
    images = YoloDataset.load(scenes).images("val")[:3]
    threshold = float(np.median([load(checkpoint, 1)(preprocess(image, 64)[0])[:5, 4].mean() for image in images]))
    found = extract(checkpoint, images, Evaluate(threshold=threshold))
    for index, image in enumerate(images):
        boxes = load(checkpoint, 1)(preprocess(image, 64)[0])
        counted = boxes[boxes[:, 4] >= threshold]
        assert found.numbers["boxes"][index] == found.counts[index].sum() == len(counted)
        expected = counted[:, 4].mean() if len(counted) else boxes[:, 4].max()
        assert found.numbers["confidence"][index] == pytest.approx(expected, abs=1e-6)
    assert found.counts.shape == (3, len(tiny_detection.CLASSES))
    assert found.classes == tiny_detection.CLASSES


def test_embeddings_tell_images_apart_and_nothing_else_does(checkpoint: Path, scenes: Path) -> None:
    first, second = YoloDataset.load(scenes).images("val")[:2]
    found = extract(checkpoint, [first, second, first], Evaluate()).embeddings
    assert found.shape[0] == 3 and found.shape[1] > 8
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_a_changed_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / WEIGHTS).write_bytes(b"other")
    with pytest.raises(IntegrityError, match="its card says"):
        extract(tmp_path, [], Evaluate())


def test_an_image_is_uncertain_when_its_scores_lie_at_the_threshold() -> None:
    assert uncertainty(np.array([0.25, 0.01]), 0.25) == 1
    assert uncertainty(np.array([1.0]), 0.25) == 0
    assert uncertainty(np.array([0.625]), 0.25) == pytest.approx(0.5)
    assert uncertainty(SCORES, 0.25) > uncertainty(np.array([0.9, 0.95]), 0.25)


def test_without_a_box_that_counts_the_best_one_decides() -> None:
    assert uncertainty(np.array([0.05, 0.01]), 0.25) == pytest.approx(0.2)
    assert uncertainty(np.empty(0), 0.25) == 0
