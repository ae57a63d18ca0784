from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alambique import config
from alambique.config.text import Params
from alambique.errors import ConfigurationError
from alambique.runs.new_project import template_for

SIZES = {"layers": 1, "hidden": 32, "heads": 4, "ffn": 48}


def params(**changes: Any) -> Params:
    content = yaml.safe_load(template_for("text").read_text())
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    found = config.parse(content, "params.yaml")
    assert isinstance(found, Params)
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {"size_mb": 3.0}}, "budget: text has no search yet; take its limits out"),
        ({"distill": {"temperature": 2.0}}, "soft_labels.temperature, at which the cache holds the remaining mass"),
        ({"distill": {"method": "sequence"}}, "and soft_labels.prompt is null"),
        ({"distill": {"method": "feature"}}, "distill.method"),
        ({"networks": {"small": {**SIZES, "hidden": 30}}}, "hidden 30 over 4 heads must be an even whole number"),
        ({"networks": {"small": {**SIZES, "kv_heads": 3}}}, "heads 4 is no multiple of kv_heads 3"),
        ({"networks": {"small": {**SIZES, "ffn": None}}}, "small: ffn: null stands for the size in given `weights`"),
        ({"networks": {"small": {**SIZES, "weights": "teacher", "ffn": None}}}, "small: ffn: null stands for the size"),
        ({"networks": {"small": {**SIZES, "lora": {"rank": 4}}}}, "lora: adapters need weights to adapt"),
        ({"teacher": {"main": {"source": "fetch", "weights": "champion:onnx"}}}, "no champion yet"),
        ({"runtimes": ["ncnn"], "int8": []}, "ncnn cannot run a text student here"),
        ({"quantize": {"bits": 6}}, "quantize.bits"),
        ({"training": {"vocabulary": 100}}, "training.vocabulary"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        params(**changes)


def test_a_student_without_weights_has_its_teachers_tokenizer() -> None:
    assert params().student_weights("small") is None
    fetched = {"main": {"source": "fetch", "weights": "hf://org/name"}}
    assert params(teacher=fetched).student_weights("small") == "tokenizer:hf://org/name"
    assert params(teacher=fetched, networks={"small": {"weights": "/weights"}}).student_weights("small") == "/weights"


def test_weights_in_a_folder_beside_the_changes_are_found(tmp_path: Path) -> None:
    from alambique.runs.new_project import _absolute

    (tmp_path / "given").mkdir()
    changes = {"teacher": {"main": {"weights": "given"}}, "networks": {"small": {"weights": "hf://org/name"}}}
    found = _absolute(changes, tmp_path)
    assert found["teacher"]["main"]["weights"] == str(tmp_path / "given")
    assert found["networks"]["small"]["weights"] == "hf://org/name"
