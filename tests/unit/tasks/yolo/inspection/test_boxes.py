"""`alambique softlabels inspect` tells what a cache holds, and what it knows of the labels."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories.soft_labels import CLASSES, RECIPE, write
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from alambique import cli
from alambique.errors import DataError, IntegrityError
from alambique.files import write_json
from alambique.runs.new_project import template_for
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.inspection import boxes
from alambique.tasks.yolo.inspection.statistics import (
    Statistics,
    by_class,
    collect,
    entropy,
    facts,
    owners,
)
from alambique.tasks.yolo.soft_label_rows import BoxLabels
from alambique.tasks.yolo.task import TASKS

CAT, DOG, EEL = range(3)


def seen(image: str, *boxes: tuple[tuple[float, ...], int, float]) -> BoxLabels:
    """Boxes of a place, a class and the logit of that class; the next class in order has the opposite logit."""
    logits = np.array([(logit, -logit) for _, _, logit in boxes], np.float16).reshape(-1, 2)
    return BoxLabels(
        image,
        np.array([place for place, _, _ in boxes], np.float16).reshape(-1, 4),
        logits,
        np.array([(index, (index + 1) % 3) for _, index, _ in boxes], np.int16).reshape(-1, 2),
        (1 / (1 + np.exp(-logits[:, 0]))).astype(np.float16),
    )


LEFT, RIGHT, ASIDE = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 0.2, 0.2)
SURE, FAINT = 4.0, 0.25
ROWS = [
    # The labels of a.png: a cat at the left, a dog at the right, and an eel of which the teacher sees nothing.
    seen("train/a.png", (LEFT, CAT, SURE), (RIGHT, EEL, FAINT)),
    seen("train/b.png", (LEFT, CAT, FAINT)),
    seen("train/c.png"),
    *(seen(f"unlabelled/{name}.png", *[(ASIDE, EEL, 1.0)] * (index + 1)) for index, name in enumerate("defgh")),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for row in ROWS:
        path = tmp_path / "data/images" / row.image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), "white").save(path)
    content = {"train": "images/train", "unlabelled": "images/unlabelled", "names": CLASSES}
    (tmp_path / "data/data.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "data/labels/train").mkdir(parents=True)
    (tmp_path / "data/labels/train/a.txt").write_text("0 .25 .5 .5 1\n1 .75 .5 .5 1\n2 .5 .9 .1 .1\n")
    write(tmp_path / "soft_labels", ROWS)
    return tmp_path


def look(project: Path) -> Statistics:
    cache = Cache.open(project / "soft_labels", RECIPE)
    return collect(RECIPE, cache, YoloDataset.load(project / "data"))


def printed(project: Path, image: str | None = None) -> str:
    console = Console(file=io.StringIO())
    if image:
        boxes.show_image(project, image, console)
    else:
        boxes.show(project, project / "page.html", TASKS["detect"].measures, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_entropy_is_a_share_of_the_highest_possible() -> None:
    logits = np.array([[0, 0, 0], [20, 0, 0], [1, 1, -20]], np.float16)
    np.testing.assert_allclose(entropy(logits), [1, 0, np.log(2) / np.log(3)], atol=1e-6)


def test_a_lone_class_is_weighed_against_its_absence() -> None:
    probability = 1 / (1 + np.exp(-2))
    expected = -(probability * np.log2(probability) + (1 - probability) * np.log2(1 - probability))
    np.testing.assert_allclose(entropy(np.array([[0], [2], [20]], np.float16)), [1, expected, 0], atol=1e-6)


def test_a_labelled_box_is_found_only_by_a_box_of_its_class(project: Path) -> None:
    rows = {row.name: row for row in by_class(look(project))}
    assert [rows[name].labelled for name in CLASSES] == [1, 1, 1]
    assert [rows[name].recall for name in CLASSES] == [1.0, 0.0, 0.0]  # at the dog's place the teacher sees an eel
    assert [rows[name].predicted for name in CLASSES] == [2, 0, 16]
    assert look(project).recall == pytest.approx(1 / 3)


def test_a_teachers_box_belongs_to_the_labelled_one_it_overlaps_most_whatever_the_class(project: Path) -> None:
    from alambique.tasks.yolo.pictures import labelled

    truth = labelled(YoloDataset.load(project / "data"), project / "data/images/train/a.png").detections
    assert owners(ROWS[0], truth) == [0, 1]
    assert owners(seen("x", (ASIDE, CAT, 1.0)), truth) == [None]


def test_histograms_count_every_box_once(project: Path) -> None:
    found = look(project)
    assert found.confidence.sum() == found.entropy.sum() == found.predicted.sum() == 18
    assert found.confidence[-1] == 1 and found.confidence[11] == 2  # sigmoid(4) = 0.98, sigmoid(0.25) = 0.56


def test_the_images_worth_a_look_are_chosen_by_certainty_and_number_and_none_twice(project: Path) -> None:
    shown = look(project).shown
    assert shown["most certain"] == ["train/a.png", "unlabelled/e.png"]
    assert shown["least certain"] == ["train/b.png", "unlabelled/d.png"]
    assert shown["most crowded"] == ["unlabelled/h.png", "unlabelled/g.png"]


def test_facts_say_who_made_the_cache_how_good_the_teacher_is_and_what_it_holds(project: Path) -> None:
    write_json(project / "models/teacher/main/card.json", {"sha256": "b" * 64, "val_map50_95": 0.731})
    text = printed(project)
    assert re.search(rf"teachers +{'a' * 12}; main {'b' * 12}, mAP50-95 73\.1 on val \(average\)", text)
    assert "mAP50-95 73.1 on val" in (project / "page.html").read_text()
    lines = facts(look(project))
    assert lines["images"] == "8 (3 train, 5 unlabelled)"
    assert lines["labels found"].startswith("33.3% of 3")


def test_a_pipe_gets_lines_of_at_most_a_hundred_characters_without_colours(project: Path) -> None:
    text = printed(project)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert re.search(r"^  0\.9–1\.0 +5\.6 %", text, re.MULTILINE)
    assert re.search(r"^  dog +1 +0\.0 +0 +0\.0", text, re.MULTILINE)


def test_the_page_needs_nothing_but_itself_and_draws_labels_and_teacher_apart(project: Path) -> None:
    printed(project)
    page = (project / "page.html").read_text()
    printed(project)
    assert (project / "page.html").read_text() == page
    assert all(address.startswith("data:image/jpeg") for address in re.findall(r'<image href="([^"]*)"', page))
    assert not re.search(r'(src|href)="https?:', page)
    assert page.count('<rect class="labelled"') == 3
    assert page.count('<rect class="predicted"') == 2 + 1 + 1 + 2 + 4 + 5  # a, b, d, e, g, h
    assert "<title>cat 0.98 · dog 0.018</title>" in page


def test_an_images_boxes_are_listed_with_label_and_probabilities(project: Path) -> None:
    lines = [line for line in printed(project, "train/a.png").splitlines() if "·" in line]
    assert re.search(r"0\.000 +0\.000 +0\.500 +1\.000 +0\.004 +cat +cat 0\.98 · dog 0\.018", lines[0])
    assert re.search(r" dog +eel 0\.56 · cat 0\.44", lines[1])  # what the label does not say


def test_an_image_that_is_not_cached_is_named(project: Path) -> None:
    with pytest.raises(DataError, match=r"no soft labels for train/z\.png; name an image as in train/a\.png"):
        printed(project, "train/z.png")


def test_a_cache_that_is_not_pulled_says_how_to_get_it(project: Path) -> None:
    for file in (project / "soft_labels").rglob("*.*"):
        file.unlink()
    with pytest.raises(IntegrityError, match="unfinished"):
        printed(project)
    for folder in (project / "soft_labels").iterdir():
        folder.rmdir()
    with pytest.raises(IntegrityError, match="dvc pull soft_labels"):
        printed(project)


def test_the_command_prints_and_writes_the_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    shutil.copy(template_for("detect"), project / "params.yaml")
    result = CliRunner().invoke(cli.app, ["softlabels", "inspect"])
    assert result.exit_code == 0, result.output
    assert "labels found" in result.output
    assert (project / "soft_labels.html").exists()
    shutil.rmtree(project / "soft_labels")
    assert CliRunner().invoke(cli.app, ["softlabels", "inspect"]).exit_code == IntegrityError.exit_code
