from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import subjects
from PIL import Image
from tiny import params, project

from alambique.data.dataset import Dataset
from alambique.errors import IntegrityError
from alambique.softlabels.reader import Cache
from alambique.tasks import Metrics
from alambique.tasks.detect import predict
from alambique.tasks.detect.preprocess import preprocess, restore
from alambique.tasks.detect.soft_labels import recipe, soft_labels


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a teacher of random weights over images that are wider or higher than they are long."""
    root = tmp_path_factory.mktemp("project")
    random = np.random.default_rng(0)
    for index, (split, size) in enumerate([("train", (40, 64)), ("train", (64, 24)), ("unlabelled", (96, 64))] * 2):
        path = root / f"data/images/{split}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).resize(size).save(path)
    (root / "data/data.yaml").write_text(
        "train: images/train\nval: images/train\nunlabelled: images/unlabelled\nnames: [cat, dog, eel]\n"
    )
    subjects.checkpoint(root)
    return root


def write(root: Path, target: Path, **soft: object) -> tuple[Cache, list[Metrics]]:
    given = params(soft_labels={"shards": [0, 1], "min_score": 0.0, **soft})
    metrics = []
    for shard in given.soft_labels.shards:
        (target / str(shard)).mkdir(parents=True)
        metrics.append(soft_labels(root, given, shard, target / str(shard)))
    data = Dataset.load(root / "data")
    return Cache.open(target, recipe(root, given, data)), metrics


def test_every_train_and_unlabelled_image_is_in_one_shard(root: Path, tmp_path: Path) -> None:
    cache, metrics = write(root, tmp_path)
    names = {path.relative_to(root / "data/images").as_posix() for path in root.glob("data/images/*/*.png")}
    assert set(cache) == names
    assert [shard["images"] for shard in metrics] == [3, 3]
    assert sum(shard["unlabelled_images"] for shard in metrics) == 2
    assert sum(shard["boxes"] for shard in metrics) == sum(len(image.boxes) for image in cache.values())


def test_boxes_are_the_teachers_own_in_the_images_coordinates(root: Path, tmp_path: Path) -> None:
    cache, _ = write(root, tmp_path)
    teacher = predict.load(root / "models/teacher/main", threads=1)
    compared = 0
    for name, seen in cache.items():
        inputs, place = preprocess(root / "data/images" / name, 64)
        final = teacher(inputs)
        corners = restore(final[:, :4], place)
        inside = seen.scores > final[:, 4].min() + 1e-3  # what the head's own selection has left
        compared += inside.sum()
        for box, score, classes in zip(seen.boxes[inside], seen.scores, seen.classes, strict=False):
            matches = np.isclose(corners, box, atol=2e-3).all(1) & (final[:, 5] == classes[0])
            assert np.isclose(final[:, 4][matches], score, atol=2e-3).any()
    assert compared > 50


def test_logits_are_sorted_and_their_best_gives_the_score(root: Path, tmp_path: Path) -> None:
    cache, _ = write(root, tmp_path, top_k=2)
    for seen in cache.values():
        logits = seen.logits.astype(float)
        assert logits.shape[1] == seen.classes.shape[1] == 2
        assert (logits[:, 0] >= logits[:, 1]).all()
        np.testing.assert_allclose(seen.scores, 1 / (1 + np.exp(-logits[:, 0])), atol=2e-3)
        assert (np.diff(seen.scores.astype(float)) <= 0).all()


def test_unsure_and_surplus_boxes_are_not_kept(root: Path, tmp_path: Path) -> None:
    everything, _ = write(root, tmp_path / "all")
    sure, _ = write(root, tmp_path / "sure", min_score=0.5)
    few, _ = write(root, tmp_path / "few", max_boxes=3)
    for name, seen in everything.items():
        assert len(sure[name].boxes) == pytest.approx((seen.scores >= 0.5).sum(), abs=1)
        np.testing.assert_array_equal(few[name].scores, seen.scores[:3])
    assert 0 < sum(len(seen.boxes) for seen in sure.values()) < sum(len(seen.boxes) for seen in everything.values())


def test_equal_teachers_give_equal_bytes(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(root, tmp_path / name)
    for file in ("soft_labels.arrow", "manifest.json"):
        assert (tmp_path / "one/0" / file).read_bytes() == (tmp_path / "two/0" / file).read_bytes()


def test_a_changed_teacher_is_refused(scenes: Path, tmp_path: Path) -> None:
    root = project(tmp_path / "project", scenes)
    subjects.checkpoint(root)
    with (root / "models/teacher/main/weights.pt").open("ab") as file:
        file.write(b"more")
    with pytest.raises(IntegrityError, match="sha256"):
        soft_labels(root, params(), 0, tmp_path)
