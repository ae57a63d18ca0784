from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import text, text_cost


def test_ratios_are_taken_within_a_round() -> None:
    measured = [
        {"plain": 1.0, "cached": 1.1, "trl": 2.2},
        {"plain": 2.0, "cached": 2.0, "trl": 6.0},
        {"plain": 1.0, "cached": 1.3, "trl": 3.9},
    ]
    speedup, overhead = text.speed(measured)
    assert (speedup.id, speedup.value, speedup.met) == ("speedup_over_trl", pytest.approx(3.0), True)
    assert overhead.value == pytest.approx(1.1)


def test_what_a_token_costs_is_of_a_real_shard(tmp_path: Path) -> None:
    row = text_cost.size(tmp_path, tokens=256)
    assert row.value == pytest.approx(2 * text_cost.LARGE / row.details["bytes_per_token"])
    assert 200 < row.details["bytes_per_token"] < 230
    assert 0 < row.details["kl_cached"] < row.details["kl"]
    assert -1 < row.details["bias"] < 0


def test_texts_fill_their_windows(tmp_path: Path) -> None:
    _, tokenizer, own = text_cost.corpus(tmp_path, 5)
    assert len(tokenizer) == text_cost.VOCABULARY
    assert [len(each.ids) for each in own] == [text_cost.TOKENS] * 5
