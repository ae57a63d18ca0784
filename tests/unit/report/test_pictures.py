from __future__ import annotations

from PIL import Image

from alambique.report.pictures import color, pick, shown


def test_the_most_disputed_come_first_then_the_middle_of_the_rest() -> None:
    agreements = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.1, "e": 0.7, "f": 1.0}
    assert pick(agreements, disputed=2, typical=2) == ["b", "d", "e", "a"]


def test_few_images_are_all_shown_once() -> None:
    assert pick({"a": 0.5, "b": 0.2}, disputed=3, typical=2) == ["b", "a"]


def test_forty_classes_have_forty_colours() -> None:
    assert len({color(index) for index in range(40)}) == 40


def test_an_image_is_inside_its_element_and_names_cannot_write_html() -> None:
    element = shown(Image.new("RGB", (4, 4)), '"><script>')
    assert element.startswith('<img src="data:image/jpeg;base64,')
    assert "<script" not in element
