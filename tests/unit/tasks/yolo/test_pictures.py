from __future__ import annotations

import numpy as np
from PIL import Image

from alambique.report.pictures import color
from alambique.tasks.yolo.average_precision import Detections
from alambique.tasks.yolo.pictures import Drawing, agreement, draw

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def boxes(*rows: tuple[float, float, float, float], index: int = 0) -> Detections:
    return Detections(
        np.array(rows, np.float32), np.linspace(0.9, 0.5, len(rows), dtype=np.float32), np.full(len(rows), index)
    )


def test_networks_that_find_nothing_agree() -> None:
    assert agreement(NOTHING, NOTHING) == 1
    assert agreement(boxes((0, 0, 1, 1)), NOTHING) == 0


def test_agreement_counts_boxes_of_one_class_and_place_on_both_sides() -> None:
    both = boxes((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1))
    assert agreement(both, both) == 1
    assert agreement(both, boxes((0, 0, 0.5, 0.5))) == 2 / 3
    assert agreement(both, both._replace(classes=np.array([1, 1]))) == 0


def test_drawing_leaves_the_image_alone_and_marks_the_box_in_its_classes_colour() -> None:
    image = Image.new("RGB", (100, 100))
    drawn = draw(image, Drawing(boxes((0.2, 0.5, 0.8, 0.9), index=1)), "detect", ["red", "white"])
    assert image.getextrema() == ((0, 0), (0, 0), (0, 0))
    assert "#{:02x}{:02x}{:02x}".format(*drawn.getpixel((50, 50))) == color(1)


def test_a_box_turned_inside_out_is_drawn_as_a_line() -> None:
    draw(Image.new("RGB", (100, 100)), Drawing(boxes((0.8, 0.9, 0.2, 0.5))), "detect", ["red"])
