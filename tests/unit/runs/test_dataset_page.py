"""`alambique data` of every task: what the page holds, and what it must not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import head_datasets
from PIL import Image
from typer.testing import CliRunner

from alambique import cli
from alambique.demo.digits import Digits, Scenes
from alambique.errors import ConfigurationError, DataError
from alambique.layout import DATA
from alambique.process.environment import prepare
from alambique.report import dataset_page as page
from alambique.runs import dataset_page, new_project

prepare()

EVIL = "<script>alert(1)</script>"
SCENES = Scenes(train=8, val=4, test=4, unlabelled=4, size=64, digits=2)


def made(source: Path, task: str, output: Path) -> str:
    dataset_page.write(str(source), task, output)
    return output.read_text()


def words(html: str) -> str:
    text = re.sub(r"<[^>]+>", " ", html.partition("</style>")[2])
    return " ".join(text.split())


def require_self_contained(html: str) -> None:
    assert "<script" not in html
    assert set(re.findall(r'(?:src|href)="([^"]{,22})', html)) <= {"data:image/jpeg;base64"}
    assert len(html.encode()) < page.LARGEST


def require_clean(html: str) -> None:
    require_self_contained(html)
    assert "&lt;script&gt;" in html


def test_a_detection_page_shows_what_is_odd(scenes: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(scenes, source)
    train, labels = source / "images/train", source / "labels/train"
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(train / "00000.png")
    shutil.copyfile(train / "00002.png", train / "00001.png")
    Image.open(source / "images/test/00000.png").convert("RGB").save(train / "seen.jpg", quality=95)
    (labels / "00004.txt").write_text("")
    row = (labels / "00003.txt").read_text().splitlines()[0]
    (labels / "00003.txt").write_text(f"{row}\n{row}\n0 0.5 0.5 0.005 0.2\n")
    html = made(source, "detect", tmp_path / "data.html")
    require_self_contained(html)
    text = words(html)
    assert re.search(r"49 images, \d+ objects, 10 classes The dataset as the task detect reads it", text)
    assert "is taken as YOLO: images train 25, val 8, test 8, unlabelled 8" in text
    assert "images of val or test that resemble one of another split: 1" in text
    assert "1 boxes are less than a pixel wide or high: images/train/00003.png" in text
    assert "train/00003.png · zero, 0.32 × 12.8 px" in text
    for title in ("Near-duplicates across splits 1", "More than once in a split 1", "Images of one value 1"):
        assert title in text
    assert re.search(r"Near-duplicates across splits 1 .*test/00000.png · \d objects train/seen.jpg", text)
    assert re.search(r"Repeated label rows 1 A row .* once\. [a-z ]+train/00003.png · 2 objects · 1 again", text)
    assert re.search(r"Images without objects \d .*train/00004.png", text)
    assert "All images have 64 × 64 pixels." in text


def test_equal_datasets_give_equal_pages(scenes: Path, tmp_path: Path) -> None:
    assert made(scenes, "detect", tmp_path / "1.html") == made(scenes, "detect", tmp_path / "2.html")


@pytest.mark.parametrize(("head", "shape"), [("segment", 12), ("obb", 4), ("pose", 4)])
def test_heads_are_drawn_with_their_shapes(head: str, shape: int, tmp_path: Path) -> None:
    head_datasets.write(head, tmp_path / "source", SCENES)  # type: ignore[arg-type]
    html = made(tmp_path / "source", head, tmp_path / "data.html")
    require_self_contained(html)
    assert {len(points.split()) for points in re.findall(r'<polygon points="([^"]+)"', html)} == {shape}
    assert ("<circle" in html.partition("Some images of each class")[2]) == (head == "pose")


def test_names_of_classes_and_files_are_escaped(tmp_path: Path) -> None:
    Digits(train=20, val=10, test=10).write(tmp_path / "source")
    for split in ("train", "val", "test"):
        (tmp_path / f"source/{split}/zero").rename(tmp_path / f"source/{split}/<script>")
    source = tmp_path / "source/train/<script>/00000.png"
    source.rename(source.with_name("<img src=x>.png"))
    shutil.copyfile(source.with_name("<img src=x>.png"), tmp_path / "source/train/one/same.png")
    html = made(tmp_path / "source", "classify", tmp_path / "data.html")
    require_clean(html)
    assert "<img" not in html
    assert "In several classes 1 Equal bytes, other labels." in words(html)
    assert "41 images, 10 classes" in words(html)


def conversations(folder: Path) -> Path:
    lines = [
        f'{{"messages": [{{"role": "user", "content": "How far is {number}? {EVIL}"}}, '
        f'{{"role": "assistant", "content": "{number} miles."}}]}}\n'
        for number in range(40)
    ]
    (folder / "chats.jsonl").write_text("".join(lines))
    return folder / "chats.jsonl"


def labelled(folder: Path) -> Path:
    (folder / "source").mkdir()
    for split, first in (("train", 0), ("val", 20), ("test", 30)):
        rows = [f"Text {number} {EVIL},{'yes' if number % 2 else EVIL}\n" for number in range(first, first + 10)]
        (folder / f"source/{split}.csv").write_text("text,label\n" + "".join(rows))
    with (folder / "source/test.csv").open("a") as file:
        file.write(f'"Text; 1: {EVIL}",yes\n')
    return folder / "source"


@pytest.mark.parametrize(
    ("write", "task", "said"),
    [
        (conversations, "text", "user: How far is"),
        (labelled, "text_classify", "texts of val or test that resemble one of another split: 1"),
    ],
)
def test_texts_are_shown_and_escaped(write: Callable[[Path], Path], task: str, said: str, tmp_path: Path) -> None:
    html = made(write(tmp_path), task, tmp_path / "data.html")
    require_clean(html)
    text = words(html)
    assert said in text
    assert "The longest texts" in text
    assert "Lengths of texts" in text


def test_a_dataset_that_breaks_its_contract_has_a_page_that_says_so(scenes: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(scenes, source)
    shutil.copyfile(source / "images/test/00000.png", source / "images/train/00000.png")
    (source / "images/train/00001.png").write_bytes(b"no image")
    (source / "labels/train/00002.txt").write_text("0 a b c d\n")
    (source / "labels/train/00003.txt").write_text("77 0.5 0.5 0.2 0.2\n")
    text = words(made(source, "detect", tmp_path / "data.html"))
    assert "no image is in two splits: " in text
    assert "Images that cannot be read 1 (cannot be decoded) train/00001.png" in text
    assert "Labels that cannot be read 1 train/00002.png · labels/train/00002.txt:1: expected" in text
    assert "class 77" in text
    for image in source.glob("images/*/*"):
        image.write_bytes(b"no image")
    assert "Images that cannot be read 8 of 48" in words(made(source, "detect", tmp_path / "data.html"))


def test_a_page_of_many_large_images_is_small_enough(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(made(scenes, "detect", tmp_path / "data.html").encode())
    monkeypatch.setattr(page, "SIDES", (320, 16))
    monkeypatch.setattr(page, "LARGEST", whole)
    assert len(made(scenes, "detect", tmp_path / "data.html").encode()) < whole


def test_a_projects_page_is_of_its_data_and_changes_nothing_there(scenes: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    new_project.write_params(project / "params.yaml", {"project": "digits", "task": "detect"})
    (project / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(DataError, match="is the dataset pulled"):
        dataset_page.write(str(project), None, tmp_path / "data.html")
    shutil.copytree(scenes, project / DATA)
    before = sorted(project.rglob("*"))
    dataset_page.write(str(project), None, tmp_path / "data.html")
    assert "Alambique · digits 48 images" in words((tmp_path / "data.html").read_text())
    assert sorted(project.rglob("*")) == before
    with pytest.raises(ConfigurationError, match="is a project, whose task is detect; leave it out"):
        dataset_page.write(str(project), "segment", tmp_path / "data.html")


def test_the_command_writes_into_the_working_folder_and_names_the_page(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, ["data", str(scenes)])
    assert result.output == "data.html\n"
    assert [path.name for path in tmp_path.iterdir()] == ["data.html"]


def test_nothing_is_written_where_there_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        dataset_page.write(str(tmp_path / "nothing"), "classify", tmp_path / "data.html")
    with pytest.raises(ConfigurationError, match=r"is a folder; name a file in it, such as .*data\.html"):
        dataset_page.write(str(tmp_path), "classify", tmp_path)
    assert list(tmp_path.iterdir()) == []
