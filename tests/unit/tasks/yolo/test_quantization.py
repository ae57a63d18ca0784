from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from factories import checkpoints
from factories.stage_work import export, load, quantize

from alambique import config, tasks
from alambique.config import detect
from alambique.config.detect import Params
from alambique.evaluation.measures import Metrics
from alambique.files import read_json
from alambique.layout import Candidate, checkpoint
from alambique.stages.work import open_program
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.preprocess import preprocess

SCORE_TOLERANCE = 0.1
"""Mean distance between the best scores in INT8 and in FP32; scores go from 0 to 1."""
BOX_TOLERANCE = 4.0
"""Mean distance of the best FP32 boxes' sides to those of the nearest INT8 box, pixels of 64.

A processor with AVX2 alone adds products of INT8 up in 16 bits, which saturate: 2.9 were measured there.
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A project with a pruned student. Read-only, but for candidates of a new name."""
    root = checkpoints.project(tmp_path_factory.mktemp("pruned"), scenes)
    checkpoints.checkpoint(root, checkpoint("pico", "pruned"), "pruned", "pico")
    return root


def params(root: Path) -> Params:
    return config.load(root).model_copy(update={"quantize": detect.Quantize(images=12)})


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def made(root: Path, request: pytest.FixtureRequest) -> tuple[Path, Path, Metrics]:
    """The folders of a student's FP32 and INT8 candidates, and the metrics of the latter."""
    full, low = (Candidate("pico", request.param, precision) for precision in ("fp32", "int8"))
    for candidate in (full, low):
        (root / candidate.folder).mkdir(parents=True)
    export(root, params(root), full, root / full.folder)
    return root / full.folder, root / low.folder, quantize(root, params(root), low, root / low.folder)


def test_int8_finds_about_what_fp32_finds(root: Path, made: tuple[Path, Path, Metrics]) -> None:
    full, low = load(made[0], 1), load(made[1], 1)
    scores, boxes = [], []
    for image in YoloDataset.load(root / "data").images("test"):
        pixels, _ = preprocess(image, checkpoints.SIZE)
        expected, found = full(pixels), low(pixels)
        assert found.shape == expected.shape
        scores.append(np.abs(found[:20, 4] - expected[:20, 4]).mean())
        distances = np.abs(found[None, :, :4] - expected[:20, None, :4]).max(2)
        boxes.append(distances.min(1).mean())
    assert np.mean(scores) < SCORE_TOLERANCE
    assert np.mean(boxes) < BOX_TOLERANCE


def test_scores_are_not_rounded_to_the_scale_of_boxes(root: Path, made: tuple[Path, Path, Metrics]) -> None:
    pixels, _ = preprocess(YoloDataset.load(root / "data").images("test")[0], checkpoints.SIZE)
    found = load(made[1], 1)(pixels)
    assert len(np.unique(found[:, 4])) > 60  # of 84


def test_weights_are_kept_in_eight_bits(made: tuple[Path, Path, Metrics]) -> None:
    if (made[1] / "model.onnx").exists():
        tensors = onnx.load(made[1] / "model.onnx").graph.initializer
        held = [(tensor.data_type == onnx.TensorProto.INT8, np.prod(tensor.dims)) for tensor in tensors]
    else:
        operations = openvino.Core().read_model(made[1] / "model.xml").get_ordered_ops()
        constants = [operation for operation in operations if operation.get_type_name() == "Constant"]
        held = [(each.get_element_type() == openvino.Type.i8, np.prod(each.data.shape)) for each in constants]
    sizes = {low: sum(size for eight, size in held if eight is low) for low in (True, False)}
    assert sizes[True] > 0.8 * sum(sizes.values())


def test_card_and_metrics_tell_the_calibration(root: Path, made: tuple[Path, Path, Metrics]) -> None:
    full, low = (read_json(folder / "card.json") for folder in made[:2])
    assert low["precision"] == "int8"
    assert low["calibration_images"] == made[2]["calibration_images"] == 12
    assert sum(low["calibration_boxes"].values()) > 12
    assert {key: low[key] for key in ("input", "output", "preprocessing", "classes", "checkpoint_sha256")} == {
        key: full[key] for key in ("input", "output", "preprocessing", "classes", "checkpoint_sha256")
    }
    of_the_runtime = [name for name in low["files"] if name.startswith("model.")]
    assert made[2]["size_bytes"] == sum((made[1] / name).stat().st_size for name in of_the_runtime)


def test_a_drop_within_the_budget_leaves_plain_int8(root: Path, made: tuple[Path, Path, Metrics]) -> None:
    card, metrics = read_json(made[1] / "card.json"), made[2]
    found = {key: card[key] for key in ("method", "float_layers", "within_budget", "max_drop")}
    assert found == {"method": "ptq", "float_layers": 0, "within_budget": True, "max_drop": 0.01}
    task = tasks.load("detect")
    validation = task.validation(root / checkpoint("pico", "pruned"), task.dataset(root / "data"), params(root))
    for key, folder in (("fp32_map50_95", made[0]), ("int8_map50_95", made[1])):
        assert metrics[key] == card[key] == validation.headline(open_program(task, folder, torch.get_num_threads()))
    assert metrics["drop"] == metrics["fp32_map50_95"] - metrics["int8_map50_95"]


def test_within_the_budget_nothing_is_trained_and_equal_calibration_gives_equal_files(
    root: Path, made: tuple[Path, Path, Metrics], tmp_path: Path
) -> None:
    card = read_json(made[1] / "card.json")
    asked = params(root).model_copy(update={"quantize": detect.Quantize(images=12, qat_steps=1)})
    metrics = quantize(root, asked, Candidate.parse(card["candidate"]), tmp_path)  # there is no soft label to read
    assert metrics == made[2]
    assert (metrics["retrained"], metrics["tried"]) == (False, {"ptq": metrics["int8_map50_95"]})
    assert read_json(tmp_path / "card.json") == card  # the files' digest is in it
