from __future__ import annotations

import numpy as np
import pytest

from alambique.errors import IntegrityError
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.samples import pseudo_labelled
from alambique.tasks.yolo.soft_label_rows import ObjectLabels


def known(data: YoloDataset) -> dict[str, ObjectLabels]:
    """The labels of test as a teacher's objects in the unlabelled images, with scores 0.9, 0.8, …"""
    cache = {}
    for image, source in zip(data.images("unlabelled"), data.samples("test"), strict=False):
        count = len(source.boxes)
        half = source.boxes[:, 2:] / 2
        points = [points if data.head == "pose" else points[:8] for points in source.points]
        cache[data.inside(image)] = ObjectLabels(
            image=data.inside(image),
            boxes=np.hstack((source.boxes[:, :2] - half, source.boxes[:, :2] + half)).astype(np.float16),
            scores=np.linspace(0.9, 0.8, count).astype(np.float16),
            classes=source.targets[:, 0].astype(np.int16),
            points=np.array(points, np.float16).reshape(count, -1),
        )
    return cache


def test_what_the_teacher_is_sure_of_becomes_a_label(data: YoloDataset) -> None:
    cache = known(data)
    sure = pseudo_labelled(data, cache, 0.0)
    assert [sample.image for sample in sure] == data.images("unlabelled")
    for sample, source in zip(sure, data.samples("test"), strict=False):
        assert sample.targets.tolist() == source.targets.tolist()
        assert len(sample.points) == len(source.points)
        if data.head != "segment":  # of whose outline the cache here has the first points only
            assert sample.boxes == pytest.approx(source.boxes, abs=1e-3)
            for one, other in zip(sample.points, source.points, strict=True):
                assert one == pytest.approx(other, abs=1e-3)


def test_what_it_is_not_sure_of_does_not(data: YoloDataset) -> None:
    none = pseudo_labelled(data, known(data), 0.95)
    assert all(not len(sample.boxes) and not sample.points for sample in none)
    some = pseudo_labelled(data, known(data), 0.85)
    assert (
        0
        < sum(len(sample.boxes) for sample in some)
        < sum(len(s.boxes) for s in pseudo_labelled(data, known(data), 0.0))
    )


def test_a_keypoint_that_is_not_visible_to_the_teacher_has_no_label(poses: YoloDataset) -> None:
    cache = known(poses)
    row = next(row for row in cache.values() if len(row.scores))
    points = row.points.copy().reshape(len(row.scores), 3, 3)
    points[0, 1, 2] = 0.2
    cache[row.image] = row._replace(points=points.reshape(len(row.scores), -1))
    found = {poses.inside(sample.image): sample for sample in pseudo_labelled(poses, cache, 0.0)}[row.image]
    assert found.points[0][:, 2].tolist() == [2, 0, 2]


def test_an_image_without_soft_labels_is_named(data: YoloDataset) -> None:
    cache = known(data)
    name = sorted(cache)[0]
    del cache[name]
    with pytest.raises(IntegrityError, match=name):
        pseudo_labelled(data, cache, 0.0)
