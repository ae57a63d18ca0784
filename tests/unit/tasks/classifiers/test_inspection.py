from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from rich.console import Console

from alambique.tasks.classifiers import inspection
from alambique.tasks.classifiers.inspection import Inspection
from alambique.tasks.classifiers.pictures import confusion

CLASSES = ["wolf", "dog", "cat"]
NAMES = ["train/wolf/a.png", "train/wolf/b.png", "train/dog/c.png", "unlabelled/d.png"]
PROBABILITIES = np.array([[0.9, 0.09, 0.01], [0.2, 0.75, 0.05], [0.3, 0.7, 0.0], [0.34, 0.33, 0.33]])
SOFT_LABELS = Inspection(NAMES, np.array([0, 0, 1, -1]), PROBABILITIES, CLASSES, {"key": "abc"})


def printed(width: int = 120) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=width), output


def test_a_samples_classes_are_listed_at_both_temperatures() -> None:
    console, output = printed()
    inspection.show_sample(SOFT_LABELS, NAMES[0], 2.0, console)
    said = output.getvalue()
    assert "labelled wolf" in said
    lines = [line.split() for line in said.splitlines() if line.split()[:1] and line.split()[0] in CLASSES]
    assert [line[:2] for line in lines] == [["wolf", "90.0"], ["dog", "9.0"], ["cat", "1.0"]]
    raised = np.sqrt(PROBABILITIES[0])
    assert float(lines[1][2]) == pytest.approx(100 * raised[1] / raised.sum(), abs=0.06)


def test_by_class_it_lists_the_other_classes_probabilities(tmp_path: Path) -> None:
    console, output = printed()
    inspection.show(SOFT_LABELS, tmp_path / "page.html", lambda name: Markup("<b>{}</b>").format(name), console)
    said = output.getvalue()
    assert "labels found" in said
    assert "66.7%" in said
    assert "dog 42.0, cat 3.0" in said
    page = (tmp_path / "page.html").read_text()
    assert "<b>train/wolf/b.png</b>" in page
    assert "dog 42.0" in page


def test_the_most_confident_against_the_label_come_first() -> None:
    groups = SOFT_LABELS.shown()
    assert [NAMES[sample] for sample in groups["most confident against the label"]] == ["train/wolf/b.png"]
    assert NAMES[groups["most uncertain"][0]] == "unlabelled/d.png"


def test_rows_count_labels_and_predictions() -> None:
    wolf, dog, cat = SOFT_LABELS.rows()
    assert (wolf.labelled, wolf.found, wolf.predicted) == (2, 0.5, 1)
    assert (dog.labelled, dog.found) == (1, 1.0)
    assert (cat.labelled, cat.found, cat.others) == (0, None, [])


def test_names_cannot_write_html(tmp_path: Path) -> None:
    labels = Inspection(["<i>a"], np.array([0]), np.array([[0.6, 0.4]]), ["<script>", "dog"], {})
    page = inspection.page(labels, lambda name: Markup(""))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_confusion_matrix_is_drawn_with_its_shares() -> None:
    picture = confusion(np.array([[3, 1], [0, 2]]), ["wolf", "dog"])
    assert picture.startswith("<svg")
    for words in ("wolf", "dog", ">75<", ">25<", ">100<"):
        assert words in picture
    assert confusion(np.eye(60, dtype=int), [f"c{index}" for index in range(60)]).count("c1<") == 0
