from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from factories.image_views import PICO, SIZE

from alambique.config.classify import Params
from alambique.errors import ConfigurationError, DataError, IntegrityError
from alambique.files import sha256
from alambique.layout import WEIGHTS, Candidate, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.classify import CLASSIFY, evaluate, network, quantize
from alambique.tasks.classify.dataset import Dataset
from alambique.tasks.classify.export import OPSET, export, to_onnx
from alambique.tasks.classify.network import Checkpoint
from alambique.tasks.classify.predict import load
from alambique.tasks.classify.preprocess import preprocess

RUNTIMES = [pytest.param(name, marks=pytest.mark.slow) if name == "executorch" else name for name in Params.RUNTIMES]


@pytest.fixture(scope="session")
def project(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a pruned student, of random weights."""
    root = tmp_path_factory.mktemp("project")
    folder = root / checkpoint("pico", "pruned")
    folder.mkdir(parents=True)
    network.save(network.build(PICO, digits.classes, 0), folder / WEIGHTS)
    network.write_card(folder, "pruned", SIZE, "0" * 64, student="pico")
    return root


def exported(project: Path, runtime: str) -> Path:
    candidate = Candidate("pico", runtime, "fp32")
    folder = project / candidate.folder
    if not folder.exists():
        folder.mkdir(parents=True)
        export(project, None, candidate, folder)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_answers_as_the_checkpoint(project: Path, digits: Dataset, runtime: str) -> None:
    if CLASSIFY.unavailable([runtime]):
        pytest.skip(f"{runtime} is not installed here")
    folder = exported(project, runtime)
    predict, exact = load(folder, 1), load(project / checkpoint("pico", "pruned"), 1)
    for image in digits.images("test")[:3]:
        pixels = preprocess(image, SIZE)
        assert predict(pixels).tolist() == pytest.approx(exact(pixels).tolist(), abs=1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_example_says_what_is_measured(project: Path, digits: Dataset, runtime: str) -> None:
    if CLASSIFY.unavailable([runtime]):
        pytest.skip(f"{runtime} is not installed here")
    folder, image = exported(project, runtime), digits.images("test")[0]
    command = [sys.executable, str(folder / "example.py"), str(image)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    logits = load(folder, 1)(preprocess(image, SIZE)).astype(float)
    chances = np.exp(logits) / np.exp(logits).sum()
    shown = {line.split()[0]: float(line.split()[1]) for line in said[-5:]}
    assert len(shown) == 5
    for name, chance in shown.items():
        assert chance == pytest.approx(chances[digits.classes.index(name)], abs=2e-3)


def test_equal_weights_give_an_equal_graph(pico: Checkpoint) -> None:
    first, second = (to_onnx(pico.model, SIZE).SerializeToString() for _ in range(2))
    assert first == second
    graph = onnx.load_from_string(first)
    assert graph.opset_import[0].version == OPSET
    assert str(Path.cwd()).encode() not in first
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_int8_files_are_smaller_equal_for_equal_inputs_and_run(
    project: Path, digits: Dataset, pico: Checkpoint, runtime: str, tmp_path: Path
) -> None:
    graph = to_onnx(pico.model, SIZE)
    inputs = [preprocess(image, SIZE) for image in quantize.calibration_images(digits, 10, 0)]
    suffix = {"onnx": "model.onnx", "openvino": "model.xml"}[runtime]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        quantize.write(runtime, graph, inputs, tmp_path / name / suffix)
    digests = [[sha256(path) for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b")]
    assert digests[0] == digests[1]
    whole = sum(
        path.stat().st_size for path in exported(project, runtime).iterdir() if path.suffix in {".onnx", ".bin"}
    )
    small = sum(path.stat().st_size for path in (tmp_path / "a").iterdir() if path.suffix in {".onnx", ".bin"})
    assert small < 0.75 * whole
    assert 0 <= quantize.top1(tmp_path / "a" / suffix, runtime, digits, SIZE) <= 1


def test_calibration_takes_the_classes_in_turn(digits: Dataset) -> None:
    drawn = quantize.calibration_images(digits, 10, 3)
    assert sorted(digits.label(image) for image in drawn) == list(range(10))
    assert drawn == quantize.calibration_images(digits, 10, 3)
    assert drawn != quantize.calibration_images(digits, 10, 4)


def test_nothing_makes_int8_for_another_runtime(pico: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ncnn has no quantizer"):
        quantize.write("ncnn", onnx.ModelProto(), [], tmp_path / "model.param")


def test_a_network_that_knows_a_class_less_gives_it_nothing(digits: Dataset, tmp_path: Path) -> None:
    known = [name for name in reversed(digits.classes) if name != "zero"]
    network.save(network.build(PICO, known, 0), tmp_path / WEIGHTS)
    network.write_card(tmp_path, "teacher", SIZE, "0" * 64)
    found = evaluate.look(tmp_path, digits.images("test")[:2], digits)
    assert found[:, digits.classes.index("zero")].tolist() == [0, 0]
    assert found.sum(axis=1).tolist() == pytest.approx([1, 1])
    network.save(network.build(PICO, ["cat", "dog"], 0), tmp_path / WEIGHTS)
    network.write_card(tmp_path, "teacher", SIZE, "0" * 64)
    with pytest.raises(DataError, match="it is another task's network"):
        evaluate.look(tmp_path, digits.images("test")[:2], digits)


def test_a_candidate_of_another_checkpoint_is_refused(project: Path, digits: Dataset, tmp_path: Path) -> None:
    folder = exported(project, "onnx")
    network.save(network.build(PICO, digits.classes, 9), tmp_path / WEIGHTS)
    network.write_card(tmp_path, "pruned", SIZE, "0" * 64)
    images = digits.images("test")[:2]
    with pytest.raises(IntegrityError, match="was made from the checkpoint"):
        evaluate.compare(folder, tmp_path, evaluate.look(folder, images, digits), images, digits)


def test_the_card_describes_the_tensors(project: Path) -> None:
    folder = exported(project, "onnx")
    card = read_card(folder)
    session_input = onnx.load(folder / card["file"]).graph.input[0]
    assert card["input"]["name"] == session_input.name
    assert card["input"]["shape"] == [size.dim_value for size in session_input.type.tensor_type.shape.dim]
    assert json.loads((folder / "card.json").read_text())["output"]["shape"] == [1, 10]
    assert torch.__version__.split("+")[0] in card["producers"]["torch"]
