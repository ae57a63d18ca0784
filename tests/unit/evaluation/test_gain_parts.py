from __future__ import annotations

from typing import Any

import pytest
import yaml

from alambique import config
from alambique.config import Params
from alambique.evaluation.gain_parts import parts
from alambique.runs.new_project import template_for

IMAGES = "unlabelled images"
BOTH = ["start", "labelled"]


def params(ablations: list[str], task: str = "detect", weights: str = "teacher", **distill: Any) -> Params:
    """Of two students, the second of which starts from its teacher."""
    content = yaml.safe_load(template_for(task).read_text()) | {"task": task, "ablations": ablations}
    network = content["networks"][content["students"][0]]
    content["students"] = ["first", "second"]
    content["networks"] = {"first": {**network, "weights": weights}, "second": {**network, "weights": "teacher"}}
    content["distill"] |= distill
    return config.parse(content, "params.yaml")


@pytest.mark.parametrize(
    ("ablations", "expected"),
    [
        ([], []),
        (
            BOTH,
            [("start", "start", "control"), ("soft labels", "labelled", "start"), (IMAGES, "distilled", "labelled")],
        ),
        (["start"], [("start", "start", "control"), (f"soft labels and {IMAGES}", "distilled", "start")]),
        (["labelled"], [("start and soft labels", "labelled", "control"), (IMAGES, "distilled", "labelled")]),
    ],
)
def test_each_part_is_what_one_training_has_and_the_one_before_has_not(
    ablations: list[str], expected: list[tuple[str, str, str]]
) -> None:
    assert parts(params(ablations), "first", IMAGES) == expected
    assert parts(params(ablations[::-1]), "first", IMAGES) == expected


def test_what_the_student_or_the_dataset_lacks_has_no_part() -> None:
    assert parts(params(BOTH, weights="a.pt"), "first", IMAGES) == [
        ("soft labels", "labelled", "start"),
        (IMAGES, "distilled", "labelled"),
    ]
    assert parts(params(BOTH), "first", None) == [("start", "start", "control"), ("soft labels", "labelled", "start")]


@pytest.mark.parametrize(
    ("task", "method", "of"),
    [
        ("detect", "feature", "features"),
        ("detect", "hybrid", f"soft labels and features and {IMAGES}"),
        ("segment", "pseudo", IMAGES),
        ("segment", "hybrid", f"features and {IMAGES}"),
        ("text", "soft", "soft labels"),
    ],
)
def test_the_method_says_what_else_the_teacher_is_worth(task: str, method: str, of: str) -> None:
    assert parts(params(["start"], task, method=method), "first", IMAGES)[1:] == [(of, "distilled", "start")]
