"""Mutations of valid files through every reader of bytes that others wrote: a value, or one line of a named error.

ALAMBIQUE_FUZZ=20000 pytest tests/unit/test_fuzz.py     # that many inputs for each reader
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from factories.foreign_files import READERS, Reader
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alambique.data import dataset
from alambique.data.dataset import Dataset
from alambique.errors import AlambiqueError

INPUTS = int(os.environ.get("ALAMBIQUE_FUZZ", "25"))
SECONDS = 3.0
"""Of the processor, for one input, at most."""
LONGEST = 4000
"""Characters of a message."""

TOKENS = [
    b"null",
    b"1e999",
    b"-1",
    b"NaN",
    b'""',
    b"[" * 3000,
    b"{}",
    b"\0",
    b"\xff\xfe",
    b"../../x",
    b"&a [*a]",
    b"*a",
]
TOKENS += [
    b"true",
    b"9" * 400,
    b"2024-99-99",
    b"!!python/object/apply:os.system [id]",
    b"\xed\xa0\x80",
    b"<!DOCTYPE x>",
]


@st.composite
def mutations(draw: st.DrawFn, valid: bytes) -> bytes:
    """One to four changes of a valid file: a byte, a token, a part left out, doubled, or the end cut off."""
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(content))), draw(st.integers(1, 64))
        match draw(st.integers(0, 5)):
            case 0:
                content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
            case 1:
                content = content[:place] + draw(st.sampled_from(TOKENS)) + content[place:]
            case 2:
                content = content[:place] + draw(st.sampled_from(TOKENS)) + content[place + length :]
            case 3:
                content = content[:place] + content[place + length :]
            case 4:
                content = content[:place] + content[place : place + length] * 2 + content[place + length :]
            case _:
                content = content[:place]
    return content


@pytest.mark.parametrize("case", READERS, ids=lambda case: case.name)
def test_whatever_comes_is_a_value_or_one_named_error(case: Reader, tmp_path: Path) -> None:
    path = tmp_path / case.name

    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        derandomize=INPUTS < 100,
        phases=[Phase.generate],  # to explain a failure, Hypothesis traces every line, which takes ten times as long
        suppress_health_check=list(HealthCheck),
    )
    @given(mutations(case.valid))
    def mutated(content: bytes) -> None:
        path.write_bytes(content)
        before = time.process_time()
        with contextlib.suppress(*case.raises):
            try:
                case.read(path)
            except case.raises as error:
                assert len(str(error)) < LONGEST
                raise
        assert time.process_time() - before < SECONDS

    mutated()


def test_aliases_that_grow_without_end_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: *a11"]))
    before = time.process_time()
    with pytest.raises(AlambiqueError, match="write them out"):
        Dataset.load(tmp_path)
    (tmp_path / "data.yaml").write_text("names: &a [*a]")
    with pytest.raises(AlambiqueError, match="contains itself"):
        Dataset.load(tmp_path)
    assert time.process_time() - before < SECONDS


def test_a_label_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(dataset.LARGEST_LABEL + 1)
    with pytest.raises(AlambiqueError, match="holds no labels of one image"):
        dataset.read_boxes(tmp_path / "a.txt")
