from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks import distill_speed
from benchmarks.distill_speed import interleave, rows

from alambique.errors import AlambiqueError


def blocks(calls: list[str]) -> dict[str, distill_speed.Block]:
    def block(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    return {name: partial(block, name) for name in ("plain", "cached")}


def test_each_round_begins_with_another_block(tmp_path: Path) -> None:
    calls: list[str] = []
    assert len(interleave(blocks(calls), 3, tmp_path)) == 3
    assert calls == ["plain", "cached", "cached", "plain", "plain", "cached"]


def test_rounds_that_an_interrupted_run_measured_are_kept(tmp_path: Path) -> None:
    calls: list[str] = []
    before = interleave(blocks(calls), 2, tmp_path)
    calls.clear()
    assert interleave(blocks(calls), 3, tmp_path)[:2] == before
    assert calls == ["plain", "cached"]  # the third round


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


def test_a_block_is_timed_from_its_first_step_to_its_last() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with distill_speed._step_times() as times:
        for _ in range(3):
            optimizer.step()
    optimizer.step()
    assert len(times) == 3
    assert distill_speed._per_image([1.0, 2.0, 5.0], batch=4) == 0.5


def test_a_block_of_one_step_cannot_be_timed() -> None:
    with pytest.raises(AlambiqueError, match="took 1 steps; two are needed"):
        distill_speed._per_image([1.0], batch=4)
