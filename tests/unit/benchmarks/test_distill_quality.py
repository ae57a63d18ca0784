from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.distill_quality import Choice, choose, curves_of, results_of
from benchmarks.panel.arms import SEEDS, Run, runs
from benchmarks.panel.rows import GAINS, gains
from benchmarks.panel.sets import SETUPS, SHARES, PanelSet

from alambique.data.dataset import Dataset
from alambique.errors import ConfigurationError
from alambique.files import write_text
from alambique.tasks.yolo.evaluate import write_results


@pytest.fixture
def panel(tmp_path: Path) -> list[PanelSet]:
    """Cards and digits, whose projects are empty."""
    return [
        PanelSet(name, SETUPS[name], Dataset(tmp_path, ["a"], {}), None, tmp_path / name)
        for name in ("cards", "digits")
    ]


def evaluated(folder: Path, found: bool) -> None:
    """Evaluations of four images, in each of which the one object is found or not."""
    folder.mkdir(parents=True)
    box = {"boxes": [[0.1, 0.1, 0.4, 0.4]], "scores": [0.9], "classes": [0], "correct": [1023 if found else 0]}
    write_results(
        folder / "images.arrow", [{"image": f"test/{number}.png", **box, "truth": [0]} for number in range(4)]
    )


def test_without_filters_all_is_trained(panel: list[PanelSet]) -> None:
    assert choose(panel, (), (), ()) == Choice(panel, SHARES, SEEDS)


def test_filters_choose_sets_shares_and_seeds(panel: list[PanelSet]) -> None:
    chosen = choose(panel, ["digits"], [100, 10], [1])
    assert ([panel_set.name for panel_set in chosen.sets], chosen.shares, chosen.seeds) == (["digits"], (10, 100), (1,))


@pytest.mark.parametrize(
    ("only", "share", "seed", "message"),
    [
        (["coco"], [], [], "--only coco is not among cards, digits"),
        (["bccd"], [], [], "--only bccd is not among cards, digits; give --data bccd=PATH"),
        ([], [30], [], "--share 30 is not among 10, 20, 100"),
        ([], [], [3], "--seed 3 is not among 0, 1, 2"),
    ],
)
def test_a_filter_that_names_nothing_is_refused(
    panel: list[PanelSet], only: list[str], share: list[int], seed: list[int], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        choose(panel, only, share, seed)


def test_every_row_is_of_arms_that_are_trained() -> None:
    trained = {run[:2] for run in runs()} | {(100, "teacher")}
    for first, second, _ in GAINS.values():
        assert {first, second} <= trained


def test_the_teacher_stands_beside_every_seed(panel: list[PanelSet]) -> None:
    cards, _ = panel
    done = [Run(100, "distilled", 0), Run(100, "distilled", 2), Run(100, "control", 2)]
    evaluated(cards.folder / "100/evaluations/teacher-main", found=True)
    for run in done:
        evaluated(run.evaluation(cards.folder), found=run.seed == 2 and run.arm == "distilled")
    rows = {row.id: row for row in gains({"cards": results_of(cards, done)})}
    assert set(rows) == {"panel_gain_100", "teacher_gap"}
    assert (rows["teacher_gap"].n, rows["panel_gain_100"].n) == (2 * 4, 4)
    assert rows["teacher_gap"].value == pytest.approx(rows["panel_gain_100"].value / 2)


def test_curves_are_those_of_the_fewest_labels(panel: list[PanelSet]) -> None:
    cards, _ = panel
    done = [Run(10, "distilled", 0), Run(10, "control", 0), Run(10, "distilled", 1), Run(20, "distilled", 0)]
    for kind, student in (("distilled", "pico"), ("control", "baseline")):
        write_text(cards.folder / f"10/models/{kind}/0/{student}/curves.csv", f"step,map50_95\n100,0.{len(kind)}\n")
    assert curves_of(cards, done) == {
        "cards 0": ([{"step": 100, "map50_95": 0.9}], [{"step": 100, "map50_95": 0.7}]),
    }
