"""How a champion can be unlike today's project: changes of a project that was copied, with its champion laid in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from alambique import config, runtimes, tasks
from alambique.data.dataset import LABELLED
from alambique.files import read_json, write_json
from alambique.layout import CARD, DATA, Candidate
from alambique.stages.export import write_candidate_card
from alambique.tasks.transformers import checkpoint, models, tokenizers
from alambique.tasks.transformers.checkpoint import Network

CLASS = "aardvark"
"""A class that the champion was not trained for; it comes first, so that the indices of all others change."""


def one_class_more_in_images(project: Path, champion: Path) -> None:
    """Add three images of a new class to each labelled split of classified images."""
    data = project / DATA
    _name_first(data)
    generator = np.random.default_rng(0)
    for split in LABELLED:
        folder = data / "images" / split / CLASS
        folder.mkdir()
        for number in range(3):
            pixels = generator.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")


def one_class_more_in_boxes(project: Path, champion: Path) -> None:
    """Call the first object of an image in each labelled split one of a new class; boxes, keypoints, polygons alike."""
    data = project / DATA
    _name_first(data)
    for split in LABELLED:
        renamed = False
        for path in sorted((data / "labels" / split).glob("*.txt")):
            rows = [line.split() for line in path.read_text().splitlines()]
            shifted = [[str(int(index) + 1), *numbers] for index, *numbers in rows]
            if shifted and not renamed:
                shifted[0][0], renamed = "0", True
            _replace(path, "".join(f"{' '.join(row)}\n" for row in shifted))


def one_class_more_in_texts(project: Path, champion: Path) -> None:
    """Add three texts of a new class to each labelled split."""
    data = project / DATA
    content = _name_first(data)
    for split in LABELLED:
        path = data / content[split]
        texts = (f"is this aardvark number {number} of {split}" for number in range(3))
        lines = "".join(json.dumps({"text": text, "label": CLASS}) + "\n" for text in texts)
        _replace(path, path.read_text() + lines)


def _name_first(data: Path) -> dict[str, Any]:
    path = data / "data.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    names = content["names"]
    known = names if isinstance(names, list) else [names[index] for index in sorted(names)]
    content["names"] = dict(enumerate([CLASS, *known]))
    _replace(path, yaml.safe_dump(content, sort_keys=False))
    return content


def _replace(path: Path, text: str) -> None:
    path.unlink()  # it may be read-only
    path.write_text(text)


def another_vocabulary(project: Path, champion: Path) -> None:
    """Replace the champion by a language model whose tokenizer was trained on other texts."""
    task, params = tasks.load("text"), config.load(project)
    runtime = read_json(champion / CARD)["runtime"]
    tokenizer = tokenizers.train_bpe(["quite another vocabulary, from quite other texts"] * 3, 280)
    architecture = params.networks[params.students[0]]
    model: Any = models.build_llama(architecture, tokenizer, params.input_size, seed=5)
    source = project / "other"
    source.mkdir()
    checkpoint.save(Network(model.eval(), tokenizer), source)
    card = task.describe(source, params)
    write_json(source / CARD, card)
    shutil.rmtree(champion)
    champion.mkdir()
    network, kind = task.exportable(source), runtimes.load(runtime)
    tensors = kind.write(network, champion / kind.file)
    task.copy_beside(source, champion)
    write_candidate_card(task, Candidate("other", runtime, "fp32"), card, champion, tensors)
