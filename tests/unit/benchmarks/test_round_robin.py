from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks.round_robin import Block, interleave, per_sample, step_times

from alambique.errors import AlambiqueError


def blocks(calls: list[str]) -> dict[str, Block]:
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


def test_a_block_is_timed_from_its_first_step_to_its_last() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with step_times() as times:
        for _ in range(3):
            optimizer.step()
    optimizer.step()
    assert len(times) == 3
    assert per_sample([1.0, 2.0, 5.0], samples=4) == 0.5


def test_a_block_of_one_step_cannot_be_timed() -> None:
    with pytest.raises(AlambiqueError, match="took 1 steps; two are needed"):
        per_sample([1.0], samples=4)
