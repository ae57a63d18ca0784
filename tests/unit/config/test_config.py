from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alambique import config
from alambique.errors import ConfigurationError

REFERENCE = Path(__file__).parents[3] / "params.yaml"


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("arriving", "val", 0.1, "arriving: this key is ingest now"),
        ("distill", "fade", 0.2, "distill.fade: this key is distill.anneal now"),
        ("distill", "min_trust", 0.2, "distill.min_label_probability now"),
        ("prune", "share", 0.3, "prune.share: this key is prune.ratio now"),
    ],
)
def test_an_old_key_is_refused_with_its_new_name(section: str, key: str, value: Any, words: str) -> None:
    content = yaml.safe_load(REFERENCE.read_text())
    content.setdefault(section, {})[key] = value
    with pytest.raises(ConfigurationError, match=words):
        config.parse(content, "params.yaml")


def test_an_old_key_of_a_network_is_refused_with_the_networks_name() -> None:
    content = yaml.safe_load(REFERENCE.read_text())
    content["networks"]["pico"]["start"] = "given.pt"
    with pytest.raises(ConfigurationError, match=r"networks\.pico\.start: this key is networks\.pico\.weights now"):
        config.parse(content, "params.yaml")
