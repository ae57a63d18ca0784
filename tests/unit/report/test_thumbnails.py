from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.report.thumbnails import LabelledSample, Mark, box_outline, show

NO_POINTS = np.empty((0, 2))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 600, 3), np.uint8)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def size(html: str) -> tuple[int, int]:
    found = re.search(r"base64,([^\"]+)\"", html)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1]))).size


def test_boxes_lie_where_they_lie_in_the_scaled_image(photo: Path) -> None:
    marks = [Mark(0, "cat", box_outline((0.25, 0.5, 0.5, 1.0)), np.array([[0.5, 0.5]]))]
    html = show(LabelledSample(photo, marks=marks), side=200)
    assert size(html) == (200, 100)
    assert 'points="50.0,50.0 100.0,50.0 100.0,100.0 50.0,100.0"' in html
    assert '<circle cx="100.0" cy="50.0"' in html


def test_a_close_up_stays_inside_and_its_box_alone_is_not_faint(photo: Path) -> None:
    corner = (0.0, 0.0, 6 / 600, 6 / 300)
    marks = [Mark(0, "speck", box_outline(corner), NO_POINTS), Mark(1, "all", box_outline((0, 0, 1, 1)), NO_POINTS)]
    html = show(LabelledSample(photo, marks=marks), side=200, focus=corner)
    assert size(html) == (48, 48)
    assert re.findall(r'(class="faint">)?<polygon[^>]*><title>(\w+)', html) == [
        ("", "speck"),
        ('class="faint">', "all"),
    ]
    assert 'points="0.0,0.0 6.0,0.0 6.0,6.0 0.0,6.0"' in html


def test_photos_are_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 30)).save(tmp_path / "x.jpg", exif=exif)
    assert size(show(LabelledSample(tmp_path / "x.jpg"), side=100)) == (30, 60)


def test_an_image_that_cannot_be_decoded_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no image")
    assert show(LabelledSample(tmp_path / "x.png"), side=100) == '<p class="text">(cannot be decoded)</p>'


def test_texts_and_names_are_escaped_and_cut(photo: Path) -> None:
    assert show(LabelledSample(text="<b>" + "x" * 500), side=100) == f'<p class="text">&lt;b&gt;{"x" * 397}…</p>'
    mark = Mark(0, "</title><script>", box_outline((0, 0, 1, 1)), NO_POINTS)
    assert "<script>" not in show(LabelledSample(photo, marks=[mark]), side=100)
