from __future__ import annotations

from pathlib import Path

import pytest
from alambique.tasks.detect import network, sensitivity
from alambique.tasks.detect.importance import magnitude, scorer
from alambique.tasks.detect.sensitivity import RATIOS, Scan, pain
from alambique.tasks.detect.validation import Validation
from alambique.tasks.detect.widths import Slot, Widths, narrowings, widths
from factories import checkpoints
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Evaluate
from alambique.data.dataset import Dataset
from alambique.errors import DataError

FULL: Widths = {Slot(0, "out"): 48, Slot(1, "out"): 48, Slot(1, "hidden"): 32, Slot(2, "out"): 48}
FRAGILE, TOUGH = Slot(1, "out"), Slot(2, "out")


def scanned(**lost: list[float]) -> Scan:
    """A scan of a network of mAP50-95 0.5: the share of it that is lost at each ratio, by what FULL calls the slot."""
    found = {slot: lost.get(f"{slot.part}{slot.layer}", [0.0, 0.0, 0.0]) for slot in FULL}
    return Scan(
        0.5, {slot: {r: 0.5 * (1 - x) for r, x in zip(RATIOS, row, strict=True)} for slot, row in found.items()}
    )


def test_pain_is_what_is_removed_and_what_is_lost() -> None:
    hurts = pain(scanned(out1=[0.1, 0.5, 0.9]))
    assert [hurts(FRAGILE, share) for share in (0, 0.125, 0.25, 0.5, 0.75, 0.9)] == pytest.approx(
        [0, 0.175, 0.35, 1.0, 1.65, 1.8]
    )
    assert hurts(TOUGH, 0.5) == 0.5


def test_noise_neither_rewards_a_narrowing_nor_makes_a_deeper_one_cheaper() -> None:
    hurts = pain(scanned(out1=[0.2, 0.1, 0.3], out2=[-0.1, -0.2, -0.3]))
    assert hurts(FRAGILE, 0.5) == pytest.approx(0.7)
    assert hurts(TOUGH, 0.75) == 0.75


def test_a_scan_without_losses_gives_uniform_widths() -> None:
    assert narrowings(FULL, pain(scanned())) == narrowings(FULL)
    assert narrowings(FULL, pain(Scan(0.0, scanned().found))) == narrowings(FULL)  # nothing is found, nothing is lost


def test_a_layer_whose_narrowing_costs_more_is_narrowed_less() -> None:
    plans = narrowings(FULL, pain(scanned(out1=[0.5, 1.0, 1.0], out2=[0.1, 0.2, 0.3])))
    for plan in plans:
        assert plan[FRAGILE] >= plan[TOUGH] >= plan[Slot(0, "out")]
    assert any(plan[FRAGILE] == 48 and plan[TOUGH] < 48 for plan in plans)
    assert plans[-1] == narrowings(FULL)[-1]


def test_a_scan_survives_its_file() -> None:
    scan = scanned(out1=[0.1, 0.5, 0.9])
    assert Scan.of(scan.content()) == scan
    assert scan.drops()["1 out"] == pytest.approx({"0.25": 0.05, "0.5": 0.25, "0.75": 0.45})


@pytest.fixture
def validation(tmp_path: Path, scenes: Path) -> Validation:
    data = Dataset.load(checkpoints.project(tmp_path, scenes) / "data")
    return Validation(data, data.classes, 64, Evaluate())


@pytest.fixture
def model(tmp_path: Path, validation: Validation) -> DetectionModel:
    return network.load(checkpoints.checkpoint(tmp_path) / "weights.pt")


def test_every_layer_is_measured_on_val_with_gradients_that_are_computed_once(
    model: DetectionModel, validation: Validation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "RATIOS", (0.5, 0.52))
    prepared = []
    taylor = scorer("taylor", validation.dataset, 64, seed=0)
    counted = taylor._replace(prepare=lambda copy: (prepared.append(copy), taylor.prepare(copy))[1])
    scan = sensitivity.scan(model, validation, counted, seed=0)
    assert len(prepared) == 1
    full = widths(model)
    assert list(scan.found) == list(full)
    assert scan.found[Slot(3, "out")].keys() == {0.5}  # two ratios, one width
    assert all(full[slot] * share % 2 == 0 for slot, points in scan.found.items() for share in points)
    assert scan.map50_95 == validation.score(sensitivity._predictor(model, 64))
    assert len({left for points in scan.found.values() for left in points.values()}) > 1


def test_a_val_split_without_boxes_is_refused(model: DetectionModel, validation: Validation) -> None:
    for label in (validation.dataset.root / "labels/val").glob("*.txt"):
        label.write_text("")
    with pytest.raises(DataError, match=r"val holds no boxes.*prune\.widths"):
        sensitivity.scan(model, validation, magnitude(), seed=0)
