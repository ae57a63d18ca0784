"""Every example of docs/datasets.md is taken as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alambique.runs import new_project

PAGE = Path(__file__).parents[3] / "docs/datasets.md"
SECTION = re.compile(r"^##+ (.+)\n((?:(?!^##+ ).*\n)*)", re.MULTILINE)
COMMAND = re.compile(r"--data (\S+)(?: --task (\S+))?")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = {name: body for name, body in SECTION.findall(PAGE.read_text()) if "```sh" in body}


def test_the_table_links_each_form() -> None:
    anchors = set(re.findall(r"\]\(#([\w-]+)\)", PAGE.read_text()))
    assert anchors <= {name.lower().replace(" ", "-").replace(".", "") for name in EXAMPLES}
    assert len(EXAMPLES) == 13


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alambique")
    monkeypatch.chdir(tmp_path)
    for kind, file, content in BLOCK.findall(EXAMPLES[name]):
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(content)
        elif kind == "text":
            for number, path in enumerate(map(Path, content.split())):
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
                Image.fromarray(pixels).save(path)
    data, task = COMMAND.findall(EXAMPLES[name])[0]
    new_project.explain(data, task or "detect", None, deduplicate=False)
    assert re.search(r"the dataset:\n  train: \d", caplog.text)
    assert re.search(r"\n  test: \d", caplog.text)
