from __future__ import annotations

from pathlib import Path

import pytest
from factories import checkpoints
from factories.tiny_detection import params
from ultralytics.nn.tasks import DetectionModel

from alambique.config.detect import Evaluate
from alambique.errors import DataError
from alambique.stages.prune import losses
from alambique.tasks.yolo import network, pruning, sensitivity
from alambique.tasks.yolo.channel_importance import scorer
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.evaluate import validation
from alambique.tasks.yolo.sensitivity import RATIOS, Sensitivity, layer_cost
from alambique.tasks.yolo.widths import Slot, Widths, narrowings, widths

FULL: Widths = {Slot(0, "out"): 48, Slot(1, "out"): 48, Slot(1, "hidden"): 32, Slot(2, "out"): 48}
FRAGILE, TOUGH = Slot(1, "out"), Slot(2, "out")


def scanned(**lost: list[float]) -> Sensitivity:
    """A scan of a network of mAP50-95 0.5: the share of it that is lost at each ratio, by what FULL calls the slot."""
    found = {slot: lost.get(f"{slot.part}{slot.layer}", [0.0, 0.0, 0.0]) for slot in FULL}
    return Sensitivity(
        0.5, {slot: {r: 0.5 * (1 - x) for r, x in zip(RATIOS, row, strict=True)} for slot, row in found.items()}
    )


def test_the_cost_is_what_is_removed_and_what_is_lost() -> None:
    cost = layer_cost(scanned(out1=[0.1, 0.5, 0.9]))
    assert [cost(FRAGILE, share) for share in (0, 0.125, 0.25, 0.5, 0.75, 0.9)] == pytest.approx(
        [0, 0.175, 0.35, 1.0, 1.65, 1.8]
    )
    assert cost(TOUGH, 0.5) == 0.5


def test_noise_neither_rewards_a_narrowing_nor_makes_a_deeper_one_cheaper() -> None:
    cost = layer_cost(scanned(out1=[0.2, 0.1, 0.3], out2=[-0.1, -0.2, -0.3]))
    assert cost(FRAGILE, 0.5) == pytest.approx(0.7)
    assert cost(TOUGH, 0.75) == 0.75


def test_a_scan_without_losses_gives_uniform_widths() -> None:
    assert narrowings(FULL, layer_cost(scanned())) == narrowings(FULL)
    assert narrowings(FULL, layer_cost(Sensitivity(0.0, scanned().by_slot))) == narrowings(
        FULL
    )  # nothing is found, nothing is lost


def test_a_layer_whose_narrowing_costs_more_is_narrowed_less() -> None:
    plans = narrowings(FULL, layer_cost(scanned(out1=[0.5, 1.0, 1.0], out2=[0.1, 0.2, 0.3])))
    for plan in plans:
        assert plan[FRAGILE] >= plan[TOUGH] >= plan[Slot(0, "out")]
    assert any(plan[FRAGILE] == 48 and plan[TOUGH] < 48 for plan in plans)
    assert plans[-1] == narrowings(FULL)[-1]


def test_a_scan_survives_its_file() -> None:
    scan = scanned(out1=[0.1, 0.5, 0.9])
    assert Sensitivity.of(scan.content()) == scan
    assert losses(scan.content(), "map50_95")["1 out"] == pytest.approx({"0.25": 0.05, "0.5": 0.25, "0.75": 0.45})


@pytest.fixture
def data(tmp_path: Path, scenes: Path) -> YoloDataset:
    return YoloDataset.load(checkpoints.project(tmp_path, scenes) / "data")


@pytest.fixture
def model(tmp_path: Path, data: YoloDataset) -> DetectionModel:
    return network.load(checkpoints.checkpoint(tmp_path) / "weights.pt")


def test_every_layer_is_measured_on_val_with_gradients_that_are_computed_once(
    model: DetectionModel, data: YoloDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "RATIOS", (0.5, 0.52))
    prepared = []
    taylor, on_val = scorer("taylor", data, 64, seed=0), validation(data.classes, 64, data, Evaluate())
    counted = taylor._replace(prepare=lambda copy: (prepared.append(copy), taylor.prepare(copy))[1])
    scan = sensitivity.measure(model, on_val, counted, 64, seed=0)
    assert len(prepared) == 1
    full = widths(model)
    assert list(scan.by_slot) == list(full)
    assert scan.by_slot[Slot(3, "out")].keys() == {0.5}  # two ratios, one width
    assert all(full[slot] * share % 2 == 0 for slot, points in scan.by_slot.items() for share in points)
    assert scan.map50_95 == on_val.headline(sensitivity._program(model, 64))
    assert len({left for points in scan.by_slot.values() for left in points.values()}) > 1


def test_a_val_split_without_boxes_is_refused(model: DetectionModel, data: YoloDataset) -> None:
    for label in (data.root / "labels/val").glob("*.txt"):
        label.write_text("")
    asked = params(prune={"widths": "sensitivity"})
    with pytest.raises(DataError, match="val holds no boxes"):
        pruning.plans(model, data, asked, [0.3])
