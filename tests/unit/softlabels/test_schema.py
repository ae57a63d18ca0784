"""A cache holds whatever a task's recipe lays out: tokens of texts, views of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from factories.soft_labels import write
from numpy.typing import NDArray

from alambique.errors import IntegrityError, PermanentError
from alambique.softlabels import schema, writer
from alambique.softlabels.reader import Cache, read_recipe
from alambique.softlabels.schema import Recipe

K = 3


class Tokens(NamedTuple):
    """The likeliest next tokens after each of a text's n, and what is left for all others."""

    text: str
    tokens: NDArray[np.int32]
    logits: NDArray[np.float16]
    remainder: NDArray[np.float16]


class TokenRecipe(Recipe[Tokens]):
    tokenizer: str

    @property
    def row(self) -> type[Tokens]:
        return Tokens

    def layout(self) -> pa.Schema:
        kept = self.top_k
        return schema.rows(
            tokens=pa.list_(pa.int32(), kept), logits=pa.list_(pa.float16(), kept), remainder=pa.float16()
        )


class Views(NamedTuple):
    """The likeliest classes of each of an image's n views."""

    image: str
    seeds: NDArray[np.int64]
    classes: NDArray[np.int16]
    logits: NDArray[np.float16]


class ViewRecipe(Recipe[Views]):
    views: int

    @property
    def row(self) -> type[Views]:
        return Views

    def layout(self) -> pa.Schema:
        kept = min(self.top_k, len(self.classes))
        return schema.rows(seeds=pa.int64(), classes=pa.list_(pa.int16(), kept), logits=pa.list_(pa.float16(), kept))


SHARED: dict[str, Any] = {"teachers": ["a" * 64], "combine": "average", "data": {}, "preprocessing": {}, "top_k": K}
TOKENS = TokenRecipe(**SHARED, classes=[], tokenizer="t" * 64)
VIEWS = ViewRecipe(**SHARED, classes=["cat", "dog", "eel", "fox"], views=2)
random = np.random.default_rng(0)
TEXTS = [
    Tokens(
        f"train/{index:02d}",
        random.integers(100_000, size=(length, K), dtype=np.int32),
        random.normal(size=(length, K)).astype(np.float16),
        random.normal(size=length).astype(np.float16),
    )
    for index, length in enumerate([3, 0, 1, 5, 2])
]
IMAGES = [
    Views(
        f"train/{index}.png",
        random.integers(2**62, size=2, dtype=np.int64),
        random.integers(4, size=(2, K), dtype=np.int16),
        random.normal(size=(2, K)).astype(np.float16),
    )
    for index in range(4)
]


@pytest.mark.parametrize(("recipe", "rows"), [(TOKENS, TEXTS), (VIEWS, IMAGES)])
def test_every_row_comes_back_as_its_tasks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe[Any], rows: list[Any]
) -> None:
    monkeypatch.setattr(writer, "BATCH", 2)
    cache = Cache.open(write(tmp_path / "cache", rows, recipe), recipe)
    assert sorted(cache) == [row[0] for row in rows]
    for row in rows:
        cached = cache[row[0]]
        assert type(cached) is type(row)
        for values, expected in zip(cached[1:], row[1:], strict=True):
            assert values.dtype == expected.dtype
            assert not values.flags.owndata  # the mapped file itself
            np.testing.assert_array_equal(values, expected)


def test_how_a_cache_was_made_can_be_read_by_its_task_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache", TEXTS, TOKENS)
    assert read_recipe(folder, TokenRecipe) == TOKENS
    with pytest.raises(IntegrityError, match="are another task's"):
        read_recipe(folder, ViewRecipe)
    with pytest.raises(IntegrityError, match="are another task's"):
        Cache.open(folder, VIEWS)


@pytest.mark.parametrize(
    ("now", "named"), [({"tokenizer": "x" * 64}, "for tokenizer t+, but now it is x+"), ({"top_k": 4}, "for top_k 3")]
)
def test_a_part_that_only_one_task_has_decides_too(tmp_path: Path, now: dict[str, object], named: str) -> None:
    other = TOKENS.model_copy(update=now)
    assert other.digest() != TOKENS.digest()
    with pytest.raises(IntegrityError, match=named):
        Cache.open(write(tmp_path / "cache", TEXTS, TOKENS), other)


def test_shards_of_two_tasks_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache", TEXTS, TOKENS)
    other = write(tmp_path / "other", IMAGES, VIEWS)
    (folder / "1").rename(tmp_path / "away")
    (other / "1").rename(folder / "1")
    with pytest.raises(IntegrityError, match=r"shard 1 in .* was made for classes"):
        Cache.open(folder, TOKENS)


def test_columns_of_other_types_are_refused_even_by_an_equal_recipe(tmp_path: Path) -> None:
    class Wide(TokenRecipe):
        def layout(self) -> pa.Schema:
            return schema.rows(tokens=pa.list_(pa.int64(), K), logits=pa.list_(pa.float16(), K), remainder=pa.float16())

    folder = write(tmp_path / "cache", TEXTS, TOKENS)
    with pytest.raises(IntegrityError, match="of other types than this version's"):
        Cache.open(folder, Wide(**TOKENS.model_dump()))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_number_that_is_not_finite_is_refused_and_named(tmp_path: Path, value: float) -> None:
    broken = TEXTS[3]._replace(remainder=np.full(5, value, np.float16))
    with pytest.raises(PermanentError, match="not finite for train/03"):
        write(tmp_path / "cache", [*TEXTS[:3], broken], TOKENS)


@pytest.mark.parametrize("width", [K - 1, K + 1, 2 * K])
def test_rows_of_another_width_are_not_written(tmp_path: Path, width: int) -> None:
    other = TEXTS[3]._replace(logits=np.zeros((5, width), np.float16))
    with pytest.raises(ValueError, match="layout has 3"):
        write(tmp_path / "cache", [other], TOKENS)
