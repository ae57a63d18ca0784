"""What students are given for a view is what the teacher answers to the very pixels that they see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import subjects
import torch
from tiny import params, project

from alambique.data.dataset import Dataset
from alambique.errors import DataError, IntegrityError
from alambique.softlabels import schema
from alambique.softlabels.key import ViewsRecipe
from alambique.softlabels.reader import Cache
from alambique.softlabels.schema import BRANCHES, SoftViews
from alambique.tasks.detect import dense, network, soft_views
from alambique.tasks.detect.soft_labels import recipe, soft_labels
from alambique.tasks.detect.views import LABELLED, ViewDataset

OUTPUTS, KEPT = 84, 20
GIVEN = params(soft_labels={"kind": "views", "shards": [0, 1], "views": 2, "anchors": KEPT, "top_k": 4})


@pytest.fixture(scope="module")
def root(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a teacher of random weights and what it answers to two views of each image."""
    root = project(tmp_path_factory.mktemp("views") / "project", scenes)
    subjects.checkpoint(root)
    for shard in GIVEN.soft_labels.shards:
        target = root / "soft_labels" / str(shard)
        target.mkdir(parents=True)
        metrics = soft_labels(root, GIVEN, shard, target)
        assert metrics["boxes"] == metrics["images"] * 2 * len(BRANCHES) * KEPT
        assert 0 < metrics["mean_score"] < 1
    return root


@pytest.fixture(scope="module")
def cache(root: Path) -> Cache[SoftViews]:
    return Cache.open(root / "soft_labels", recipe(root, GIVEN, Dataset.load(root / "data")))


def dataset(root: Path, cache: Cache[SoftViews]) -> ViewDataset:
    assert isinstance(cache.recipe, ViewsRecipe)
    return ViewDataset(Dataset.load(root / "data"), cache.recipe, cache)


def test_every_view_of_train_and_unlabelled_images_is_in_the_cache(root: Path, cache: Cache[SoftViews]) -> None:
    assert set(cache) == set(dataset(root, cache).names)
    assert all(cache[image].checksums.shape == (2,) for image in cache)
    assert len({int(value) for image in cache for value in cache[image].checksums}) == 2 * len(cache)


def test_a_batch_carries_what_the_teacher_answers_to_its_own_pixels(root: Path, cache: Cache[SoftViews]) -> None:
    views = dataset(root, cache)
    batch = views.collate_fn([views[place] for place in [(0, 0), (25, 1), (7, 1), (31, 0)]])
    assert batch[LABELLED].tolist() == [True, False, True, False]
    model = network.load(root / "models/teacher/main/weights.pt").eval()
    answers = dense.answer(model, batch["img"].float() / 255)
    for number, branch in enumerate(BRANCHES):
        found = dense.scatter(batch, branch, OUTPUTS)
        logits, boxes = answers.logits[:, number], answers.boxes[:, number]
        assert found.kept.sum(1).tolist() == [KEPT] * 4
        least = torch.where(found.kept, logits.amax(-1), torch.inf).amin(1)
        assert (logits.amax(-1)[~found.kept].reshape(4, -1).amax(1) <= least + 1e-3).all()
        torch.testing.assert_close(found.boxes[found.kept], boxes[found.kept], rtol=2**-10, atol=1e-3)
        kept = found.logits.isfinite()
        assert kept.sum().item() == 4 * KEPT * 4
        torch.testing.assert_close(found.logits[kept], logits[kept], rtol=2**-10, atol=1e-3)


def test_pixels_that_the_teacher_did_not_see_are_refused(root: Path, cache: Cache[SoftViews]) -> None:
    views = dataset(root, cache)
    seen = cache[views.names[0]]
    views.teacher = {seen.image: seen._replace(checksums=seen.checksums ^ np.uint32(1))}
    with pytest.raises(IntegrityError, match=rf"view 1 of {seen.image} has the CRC-32 [0-9a-f]{{8}}, but"):
        views[0, 1]


def test_equal_work_gives_equal_bytes(root: Path, tmp_path: Path) -> None:
    soft_labels(root, GIVEN, 1, tmp_path)
    for file in (schema.SHARD, schema.MANIFEST):
        assert (tmp_path / file).read_bytes() == (root / "soft_labels/1" / file).read_bytes()


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("training", {"mosaic": 0.5}),
        ("training", {"flip": 0.0}),
        ("soft_labels", {"views": 3}),
        ("soft_labels", {"anchors": 5}),
        ("soft_labels", {"kind": "boxes"}),
    ],
)
def test_a_changed_parameter_makes_another_key(root: Path, section: str, change: dict[str, object]) -> None:
    now = params(
        **{"soft_labels": GIVEN.soft_labels.model_dump(), section: {**getattr(GIVEN, section).model_dump(), **change}}
    )
    data = Dataset.load(root / "data")
    assert recipe(root, now, data).digest() != recipe(root, GIVEN, data).digest()


def test_a_teacher_of_other_strides_is_refused(root: Path, cache: Cache[SoftViews]) -> None:
    data = Dataset.load(root / "data")
    model = network.load(root / "models/teacher/main/weights.pt").eval()
    model.stride = torch.tensor([8.0, 16.0, 32.0, 64.0])
    assert isinstance(cache.recipe, ViewsRecipe)
    with pytest.raises(DataError, match=r"strides \(8, 16, 32, 64\)"):
        next(soft_views.look([model], data, data.images("train"), cache.recipe))
