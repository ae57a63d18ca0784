from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alambique.errors import DataError
from alambique.tasks.transformers import tokenizers

STORIES = [f"The {animal} saw a {color} house." for animal in ("cat", "dog", "owl") for color in ("red", "blue")]


def test_bpe_spells_any_text_and_comes_back(tmp_path: Path) -> None:
    tokenizer = tokenizers.train_bpe(STORIES, 300)
    text = "Ein Kätzchen 🐈\n"
    encoded = tokenizer(text)["input_ids"]
    assert encoded[0] == tokenizer.bos_token_id
    assert tokenizer.decode(encoded, skip_special_tokens=True) == text
    tokenizer.save_pretrained(tmp_path)
    again = tokenizers.load(tmp_path)
    assert tokenizers.digest(again) == tokenizers.digest(tokenizer)
    assert tokenizers.difference(again, tokenizer) is None
    assert again(text)["input_ids"] == encoded


def test_wordpiece_is_berts(tmp_path: Path) -> None:
    tokenizer = tokenizers.train_wordpiece(STORIES, 200)
    words = tokenizer.convert_ids_to_tokens(tokenizer("The Cat saw")["input_ids"])
    assert words == ["[CLS]", "the", "cat", "saw", "[SEP]"]
    tokenizer.save_pretrained(tmp_path)
    assert tokenizers.digest(tokenizers.load(tmp_path)) == tokenizers.digest(tokenizer)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_equal_texts_give_an_equal_tokenizer_in_any_process(kind: str) -> None:
    code = (
        "import sys; from alambique.tasks.transformers import tokenizers; "
        f"print(tokenizers.digest(tokenizers.train_{kind}(sys.argv[1:], 320)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    digests = {
        subprocess.check_output([sys.executable, "-c", code, *STORIES], env={**environment, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_difference_is_described_by_content() -> None:
    first, longer = tokenizers.train_bpe(STORIES, 280), tokenizers.train_bpe(STORIES, 270)
    assert "vocabularies of 280 and 270 tokens differ in 10" in str(tokenizers.difference(first, longer))
    other = tokenizers.train_bpe(STORIES, 280)
    other.pad_token = "</s>"
    assert tokenizers.difference(first, other) == "special tokens differ in pad_token"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no tokenizer\.json"):
        tokenizers.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot load the tokenizer"):
        tokenizers.load(tmp_path)
