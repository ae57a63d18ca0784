from __future__ import annotations

import pytest
from benchmarks.evaluation import rows


def test_the_ratio_is_taken_within_a_round_and_more_images_a_second_is_better() -> None:
    (row,) = rows(ours=[20.0, 10.0, 30.0], theirs=[10.0, 5.0, 15.0])
    assert (row.id, row.n, row.met) == ("throughput", 3, True)
    assert [row.low, row.value, row.high] == pytest.approx([2.0] * 3)
    assert rows(ours=[1.0], theirs=[2.0])[0].met is False
