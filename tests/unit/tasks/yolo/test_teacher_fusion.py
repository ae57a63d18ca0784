from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ultralytics.utils.metrics import box_iou

from alambique.tasks.yolo.teacher_fusion import (
    CERTAIN,
    SAME_OBJECT,
    TeacherBoxes,
    average,
    best_per_class,
    choose_experts,
)

CLASSES = 3


def logit(probability: float) -> float:
    probability = min(max(probability, CERTAIN), 1 - CERTAIN)
    return math.log(probability / (1 - probability))


def found(*boxes: tuple[Sequence[float], Sequence[float]]) -> TeacherBoxes:
    """One teacher's boxes, each as its corners and its classes' probabilities."""
    corners = torch.tensor([corners for corners, _ in boxes]).reshape(-1, 4)
    logits = torch.tensor([[logit(each) for each in probabilities] for _, probabilities in boxes])
    return TeacherBoxes(corners, logits.reshape(-1, CLASSES))


NOTHING = found()
LEFT = (0.1, 0.1, 0.3, 0.5)
LEFT_MOVED = (0.12, 0.1, 0.32, 0.5)  # IoU 0.82
RIGHT = (0.6, 0.6, 0.9, 0.9)


def test_boxes_of_one_object_are_averaged_by_their_scores() -> None:
    fused = average([found((LEFT, (0.9, 0.2, 0.1))), found((LEFT_MOVED, (0.3, 0.1, 0.1)))])
    expected = (0.9 * torch.tensor(LEFT) + 0.3 * torch.tensor(LEFT_MOVED)) / 1.2
    torch.testing.assert_close(fused.boxes, expected[None])
    torch.testing.assert_close(fused.logits.sigmoid(), torch.tensor([[0.6, 0.15, 0.1]]))
    torch.testing.assert_close(fused.scores, torch.tensor([0.6]))


def test_a_teacher_that_sees_nothing_counts() -> None:
    fused = average([found((LEFT, (0.9, 0.2, 0.1)), (RIGHT, (0.1, 0.3, 0.6))), NOTHING, NOTHING])
    torch.testing.assert_close(fused.boxes, torch.tensor([LEFT, RIGHT]))
    torch.testing.assert_close(fused.logits.sigmoid(), torch.tensor([[0.3, 0.2 / 3, 0.1 / 3], [0.1 / 3, 0.1, 0.2]]))


def test_teachers_who_all_see_nothing_see_nothing_together() -> None:
    fused = average([NOTHING, NOTHING])
    assert fused.boxes.shape == (0, 4)
    assert fused.logits.shape == (0, CLASSES)


def test_teachers_who_agree_change_nothing() -> None:
    one = found((LEFT, (0.9, 0.2, 0.1)), (RIGHT, (0.1, 0.3, 0.6)))
    fused = average([one, one])
    torch.testing.assert_close(fused.boxes, one.boxes)
    torch.testing.assert_close(fused.logits, one.logits)


def test_teachers_who_disagree_about_the_class_give_one_divided_opinion() -> None:
    fused = average([found((LEFT, (0.9, 0.1, 0.0))), found((LEFT_MOVED, (0.1, 0.8, 0.0)))])
    torch.testing.assert_close(fused.logits.sigmoid()[0, :2], torch.tensor([0.5, 0.45]))


def test_two_boxes_of_one_teacher_stay_two_objects() -> None:
    rider = found((LEFT, (0.9, 0.0, 0.0)), (LEFT_MOVED, (0.0, 0.8, 0.0)))
    fused = average([rider, rider])
    torch.testing.assert_close(fused.boxes, rider.boxes)
    torch.testing.assert_close(fused.scores, torch.tensor([0.9, 0.8]))


def test_a_box_joins_its_own_class_before_a_closer_box_of_another() -> None:
    fused = average(
        [found((LEFT, (0.9, 0.0, 0.0)), (LEFT_MOVED, (0.0, 0.8, 0.0))), found((LEFT_MOVED, (0.7, 0.0, 0.0)))]
    )
    torch.testing.assert_close(fused.scores, torch.tensor([0.8, 0.4]))


def test_boxes_too_far_apart_stay_apart() -> None:
    apart, together = (0.16, 0.1, 0.36, 0.5), (0.155, 0.1, 0.355, 0.5)  # IoU 0.54 and 0.57
    assert len(average([found((LEFT, (0.9, 0, 0))), found((apart, (0.8, 0, 0)))]).boxes) == 2
    assert len(average([found((LEFT, (0.9, 0, 0))), found((together, (0.8, 0, 0)))]).boxes) == 1


def test_certain_and_impossible_classes_have_finite_logits() -> None:
    sure = TeacherBoxes(torch.tensor([LEFT]), torch.tensor([[80.0, -200.0, 0.0]]))
    never = TeacherBoxes(torch.tensor([LEFT]), torch.full((1, CLASSES), -200.0))
    for teachers in ([sure, sure], [never, never], [sure, NOTHING]):
        fused = average(teachers)
        assert fused.logits.isfinite().all()
        assert fused.boxes.isfinite().all()


def reference(teachers: Sequence[TeacherBoxes]) -> tuple[list[list[float]], list[list[float]]]:
    """Weighted boxes fusion in plain words: at most one box of each teacher in a cluster, one class in the game."""
    boxes = [
        (float(score), number, box.tolist(), logits.sigmoid().tolist())
        for number, teacher in enumerate(teachers)
        for score, box, logits in zip(teacher.scores, teacher.boxes, teacher.logits, strict=True)
    ]
    clusters: list[list[tuple[float, int, list[float], list[float]]]] = []
    for new in sorted(boxes, key=lambda box: -box[0]):
        best, where = SAME_OBJECT, None
        for cluster in clusters:
            overlap = float(box_iou(torch.tensor([new[2]]), torch.tensor([mean(cluster)])))
            if overlap >= best and new[1] not in [member[1] for member in cluster]:
                best, where = overlap, cluster
        if where is None:
            clusters.append([new])
        else:
            where.append(new)
    probabilities = [
        [sum(member[3][index] for member in cluster) / len(teachers) for index in range(CLASSES)]
        for cluster in clusters
    ]
    return [mean(cluster) for cluster in clusters], probabilities


def mean(cluster: list[tuple[float, int, list[float], list[float]]]) -> list[float]:
    total = sum(member[0] for member in cluster)
    return [sum(member[0] * member[2][side] for member in cluster) / total for side in range(4)]


def test_fusion_is_that_of_a_plain_reference() -> None:
    random = np.random.default_rng(0)
    objects = random.uniform(0, 0.6, (12, 2))
    teachers = []
    for count in (12, 9, 7):
        seen = objects[random.permutation(12)[:count]]
        corners = np.hstack([seen, seen + 0.25]) + random.normal(0, 0.015, (count, 4))
        probabilities = np.hstack([random.uniform(0.5, 1, (count, 1)), random.uniform(0, 0.4, (count, CLASSES - 1))])
        teachers.append(found(*zip(corners.tolist(), probabilities.tolist(), strict=True)))
    fused = average(teachers)
    boxes, probabilities = reference(teachers)
    assert 12 <= len(boxes) < 20
    torch.testing.assert_close(fused.boxes, torch.tensor(boxes))
    torch.testing.assert_close(fused.logits.sigmoid(), torch.tensor(probabilities))


def test_each_class_is_left_to_its_expert() -> None:
    first = found((LEFT, (0.9, 0.2, 0.1)), (RIGHT, (0.1, 0.7, 0.2)))
    second = found((LEFT_MOVED, (0.6, 0.1, 0.1)), (RIGHT, (0.1, 0.5, 0.2)), (LEFT, (0.1, 0.1, 0.4)))
    kept = best_per_class([first, second], experts=[0, 1, 1])
    torch.testing.assert_close(kept.boxes, torch.tensor([LEFT, RIGHT, LEFT]))
    torch.testing.assert_close(kept.logits, torch.cat([first.logits[:1], second.logits[1:]]))
    assert len(best_per_class([first, second], experts=[0, 0, 0]).boxes) == 2


@pytest.mark.parametrize(
    ("first", "second", "expert"),
    [(0.4, 0.5, 1), (0.5, 0.4, 0), (0.4, 0.4, 0), (None, None, 0), (0.0, None, 0)],
)
def test_the_expert_has_the_best_average_precision_on_val(
    first: float | None, second: float | None, expert: int
) -> None:
    cards = [{"val_ap": {"cat": 0.9, "dog": value}} for value in (first, second)]
    assert choose_experts(cards, ["dog", "cat"]) == [expert, 0]
