from __future__ import annotations

import pytest
from benchmarks.distill_speed import rows


def test_ratios_are_taken_within_a_round() -> None:
    slow = {"plain": 2.0, "cached": 2.2, "builtin_l": 8.8, "builtin_x": 17.6, "teacher_l": 6.0}
    fast = {name: value / 2 for name, value in slow.items()}
    found = {row.id: row for row in rows([slow, fast, slow])}
    expected = {
        "cached_over_plain": 1.1,
        "builtin_l_over_cached": 4.0,
        "builtin_x_over_cached": 8.0,
        "share_of_ceiling": 1.0,
    }
    for id, value in expected.items():
        assert [found[id].low, found[id].value, found[id].high] == pytest.approx([value] * 3)
