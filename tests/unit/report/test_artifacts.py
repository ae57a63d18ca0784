from __future__ import annotations

from alambique.report.artifacts import weakest


def test_the_class_that_is_found_least_is_the_weakest() -> None:
    assert weakest({"red": 0.9, "white": 0.4, "platelet": 0.6}) == ("white", 0.4)


def test_a_class_that_no_test_image_holds_is_not_the_weakest() -> None:
    assert weakest({"red": 0.9, "white": None}) == ("red", 0.9)
    assert weakest({"white": None}) is weakest({}) is None
