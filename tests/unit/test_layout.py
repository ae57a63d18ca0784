from __future__ import annotations

from pathlib import Path

import pytest

from alambique.layout import EvaluationTarget, evaluation_targets


@pytest.mark.parametrize(
    ("name", "kind", "folder"),
    [
        ("teacher-main", "teacher", "models/teacher/main"),
        ("pico-control-3", "control", "models/control/3/pico"),
        ("pico-start-0", "start", "models/start/0/pico"),
        ("pico-labelled-0", "labelled", "models/labelled/0/pico"),
        ("pico-pruned", "pruned", "models/pruned/pico"),
        ("pico-onnx-int8", "candidate", "candidates/pico-onnx-int8"),
        ("champion-onnx", "champion", "inputs/champions/onnx"),
    ],
)
def test_a_name_tells_kind_and_folder(name: str, kind: str, folder: str) -> None:
    target = EvaluationTarget.parse(name)
    assert (target.name, target.kind, target.folder) == (name, kind, Path(folder))


@pytest.mark.parametrize(
    "name", ["pico", "pico-onnx", "pico-start", "pico-none-0", "pico-onnx-int4", "pico-onnx-int8-extra", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no evaluation target"):
        EvaluationTarget.parse(name)


def test_a_run_has_every_checkpoint_candidate_and_champion_once() -> None:
    names = [
        target.name
        for target in evaluation_targets(
            ["main"], ["pico", "nano"], iter([0, 1]), iter(["onnx", "openvino"]), ["openvino"]
        )
    ]
    assert len(names) == len(set(names)) == 1 + 2 * (2 * 2 + 1 + 3) + 2
    assert names[0] == "teacher-main"
    assert names[-2:] == ["champion-onnx", "champion-openvino"]


def test_ablations_come_between_the_control_and_the_distilled() -> None:
    names = [target.name for target in evaluation_targets([], ["pico"], [0, 1], [], [], ["labelled", "start"])]
    kinds = ("control", "start", "labelled", "distilled")
    assert names == [*(f"pico-{kind}-{seed}" for kind in kinds for seed in (0, 1)), "pico-pruned"]
