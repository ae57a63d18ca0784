from __future__ import annotations

from pathlib import Path

import yaml
from benchmarks.text_gain import KEEP, Scale, changes, split, story_changes

from alambique import config
from alambique.demo.texts import Intents
from alambique.runs.new_project import template_for
from alambique.tasks.transformers.dataset import Texts
from alambique.tasks.transformers.import_dataset import import_labelled


def test_one_text_in_so_many_of_each_class_keeps_its_label(tmp_path: Path) -> None:
    Intents(train=120, val=12, test=12, unlabelled=0).write(tmp_path / "source")
    import_labelled(str(tmp_path / "source"), tmp_path / "data")
    source = Texts.load(tmp_path / "data")
    parts = split(source, KEEP)
    labels = [text.label for text in parts["train"]]
    assert {labels.count(name) for name in source.classes} == {2}
    assert all(text.label is None for text in parts["unlabelled"])
    texts = sorted(text.text for name in ("train", "unlabelled") for text in parts[name])
    assert texts == sorted(text.text for text in source.texts("train"))
    assert "unlabelled" not in split(source, 1)


def test_both_tasks_have_a_possible_project() -> None:
    content = yaml.safe_load(template_for("text_classify").read_text())
    given = changes(Scale())
    merged = {key: {**content[key], **value} if isinstance(value, dict) else value for key, value in given.items()}
    params = config.parse({**content, **merged}, "params.yaml")
    assert params.teacher["main"].steps == Scale().teacher_steps
    assert params.seeds == Scale().seeds
    content = yaml.safe_load(template_for("text").read_text())
    given = story_changes(Path("llama"), Scale())
    merged = {key: {**content[key], **value} if isinstance(value, dict) else value for key, value in given.items()}
    assert config.parse({**content, **merged}, "params.yaml").teacher["main"].source == "fetch"
