from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from factories.image_views import PICO, SIZE

from alambique import config, runtimes
from alambique.config.classify import Params
from alambique.errors import DataError, IntegrityError
from alambique.files import sha256
from alambique.layout import Candidate, checkpoint
from alambique.runtimes.base import Budget, Exportable
from alambique.stages.export import write_candidate_card
from alambique.stages.work import open_program, write_checkpoint_card
from alambique.tasks.cards import read_card, require_made_of
from alambique.tasks.classifiers.evaluation import Sample, probabilities, softmax
from alambique.tasks.images import network, preprocess
from alambique.tasks.images.dataset import Dataset
from alambique.tasks.images.network import ClassifierNetwork
from alambique.tasks.images.task import CLASSIFY, OPSET

RUNTIMES = [pytest.param(name, marks=pytest.mark.slow) if name == "executorch" else name for name in Params.RUNTIMES]
IMPORTING_TORCH = {"executorch", "torchscript"}
EXAMPLES = [pytest.param(name, marks=pytest.mark.slow) if name in IMPORTING_TORCH else name for name in Params.RUNTIMES]
"""The runtimes' own part of an example is run for detectors, too."""
PARAMS: Any = config.parse(
    {
        "project": "digits",
        "task": "classify",
        "input_size": SIZE,
        "students": ["pico"],
        "runtimes": ["onnx"],
        "networks": {"pico": PICO.model_dump()},
        "teachers": ["main"],
        "teacher": {"main": {}},
    },
    "params.yaml",
)


def save(folder: Path, built: ClassifierNetwork) -> None:
    """A pruned student's checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    CLASSIFY.save(built, folder, PARAMS)
    write_checkpoint_card(CLASSIFY, folder, PARAMS, kind="pruned", data="0" * 64, student="pico")


@pytest.fixture(scope="session")
def project(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a pruned student, of random weights."""
    root = tmp_path_factory.mktemp("project")
    save(root / checkpoint("pico", "pruned"), network.build(PICO, digits.classes, 0))
    return root


@pytest.fixture(scope="module")
def student(project: Path) -> Exportable:
    """The student, whose graph is made once."""
    return CLASSIFY.exportable(project / checkpoint("pico", "pruned"))


@pytest.fixture(scope="module")
def exported(project: Path, student: Exportable) -> Callable[[str], Path]:
    """The student's candidate in FP32 of a runtime, which is made where it is missing."""

    def export(runtime: str) -> Path:
        candidate, tool = Candidate("pico", runtime, "fp32"), runtimes.load(runtime)
        folder = project / candidate.folder
        if not folder.exists():
            folder.mkdir(parents=True)
            tensors = tool.write(student, folder / tool.file)
            card = read_card(project / checkpoint("pico", "pruned"))
            write_candidate_card(CLASSIFY, candidate, card, folder, tensors)
        return folder

    return export


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_computes_what_the_checkpoint_does(
    project: Path, exported: Callable[[str], Path], digits: Dataset, runtime: str
) -> None:
    if runtimes.unavailable([runtime]):
        pytest.skip(f"{runtime} is not installed here")
    artifact = open_program(CLASSIFY, exported(runtime), 1)
    exact = CLASSIFY.program(project / checkpoint("pico", "pruned"), 1)
    for image in digits.images("test")[:3]:
        pixels = preprocess.preprocess(image, SIZE)
        assert artifact(pixels)[0][0].tolist() == pytest.approx(exact(pixels)[0][0].tolist(), abs=1e-3)


@pytest.mark.parametrize("runtime", EXAMPLES)
def test_the_example_prints_what_is_measured(exported: Callable[[str], Path], digits: Dataset, runtime: str) -> None:
    if runtimes.unavailable([runtime]):
        pytest.skip(f"{runtime} is not installed here")
    folder, image = exported(runtime), digits.images("test")[0]
    command = [sys.executable, str(folder / "example.py"), str(image)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = softmax(open_program(CLASSIFY, folder, 1)(preprocess.preprocess(image, SIZE))[0])[0]
    printed = {line.split()[0]: float(line.split()[1]) for line in lines[-5:]}
    assert len(printed) == 5
    for name, probability in printed.items():
        assert probability == pytest.approx(expected[digits.classes.index(name)], abs=2e-3)


def test_equal_weights_give_an_equal_graph(project: Path, student: Exportable) -> None:
    again = CLASSIFY.exportable(project / checkpoint("pico", "pruned")).graph()
    content = again.SerializeToString()
    assert content == student.graph().SerializeToString()
    assert again.opset_import[0].version == OPSET
    assert str(Path.cwd()).encode() not in content
    assert "BatchNormalization" not in {node.op_type for node in again.graph.node}


@pytest.mark.parametrize("runtime", Params.INT8)
def test_int8_files_are_smaller_equal_for_equal_inputs_and_run(
    project: Path,
    student: Exportable,
    exported: Callable[[str], Path],
    digits: Dataset,
    runtime: str,
    tmp_path: Path,
) -> None:
    if runtimes.unavailable([runtime]):
        pytest.skip(f"{runtime} is not installed here")
    source, tool = project / checkpoint("pico", "pruned"), runtimes.load(runtime)
    how = CLASSIFY.quantization(runtime, preprocess.calibration(digits, 10, SIZE, 0), PARAMS)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tool.quantize(student, how, tmp_path / name / tool.file)
    digests = [[sha256(path) for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b")]
    assert digests[0] == digests[1]
    weights = {".onnx", ".bin", ".mnn"}
    whole, small = (
        sum(path.stat().st_size for path in folder.iterdir() if path.suffix in weights)
        for folder in (exported(runtime), tmp_path / "a")
    )
    assert small < 0.75 * whole
    program = tool.open(tmp_path / "a" / tool.file, 1)
    assert 0 <= CLASSIFY.validation(source, digits, PARAMS).headline(program) <= 1


def test_accuracy_control_takes_a_classifier_without_float_nodes(
    project: Path, student: Exportable, digits: Dataset, tmp_path: Path
) -> None:
    source, tool = project / checkpoint("pico", "pruned"), runtimes.load("onnx")
    how = CLASSIFY.quantization("onnx", preprocess.calibration(digits, 4, SIZE, 0), PARAMS)
    validation = CLASSIFY.validation(source, digits, PARAMS)
    budget = Budget(1.0, 0.0)
    floats = tool.quantize_with_accuracy_control(student, how, tmp_path / tool.file, validation, budget)
    assert floats == sorted(floats)
    assert len(floats) > 5  # random weights hold no budget, so that all convolutions are tried
    exact = CLASSIFY.program(source, 1)(preprocess.preprocess(digits.images("test")[0], SIZE))[0]
    almost = tool.open(tmp_path / tool.file, 1)(preprocess.preprocess(digits.images("test")[0], SIZE))[0]
    assert almost.tolist() == [pytest.approx(exact[0].tolist(), abs=0.05)]


def test_calibration_draws_the_classes_in_turn(digits: Dataset) -> None:
    drawn = preprocess.draw(digits, 10, 3)
    assert sorted(digits.label(image) for image in drawn) == list(range(10))
    assert drawn == preprocess.draw(digits, 10, 3)


def test_a_class_that_a_network_was_not_trained_for_gets_no_probability(digits: Dataset, tmp_path: Path) -> None:
    known = [name for name in reversed(digits.classes) if name != "zero"]
    save(tmp_path, network.build(PICO, known, 0))
    figures = CLASSIFY.measure(tmp_path, CLASSIFY.program(tmp_path, 1), digits, "test", PARAMS).metrics
    assert figures["recall"]["zero"] == 0
    assert figures["images"] == 10
    save(tmp_path, network.build(PICO, ["cat", "dog"], 0))
    with pytest.raises(DataError, match="it is another task's network"):
        CLASSIFY.measure(tmp_path, CLASSIFY.program(tmp_path, 1), digits, "test", PARAMS)


def test_a_candidate_of_another_checkpoint_is_refused(
    exported: Callable[[str], Path], digits: Dataset, tmp_path: Path
) -> None:
    save(tmp_path, network.build(PICO, digits.classes, 9))
    with pytest.raises(IntegrityError, match="was made from the checkpoint"):
        require_made_of(exported("onnx"), tmp_path)


def test_an_output_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the logits of one sample"):
        probabilities(lambda _: [np.zeros((2, 10))], [Sample("a.png", 0, lambda: np.zeros((1, 3, 2, 2)))], tmp_path)


def test_parity_is_of_the_first_test_images(project: Path, exported: Callable[[str], Path], digits: Dataset) -> None:
    folder, source = exported("onnx"), project / checkpoint("pico", "pruned")
    programs = open_program(CLASSIFY, folder, 1), CLASSIFY.program(source, 1)
    parity = CLASSIFY.parity(folder, *programs, digits, PARAMS)
    assert parity["samples"] == 10
    assert parity["agreement"] == 1
    assert parity["max_score_difference"] < 1e-4


def test_the_card_describes_the_tensors(exported: Callable[[str], Path]) -> None:
    folder = exported("onnx")
    card = read_card(folder)
    session_input = onnx.load(folder / card["file"]).graph.input[0]
    assert card["input"]["name"] == session_input.name
    assert card["input"]["shape"] == [size.dim_value for size in session_input.type.tensor_type.shape.dim]
    assert card["output"]["shape"] == [1, 10]
    assert torch.__version__.split("+")[0] in card["producers"]["torch"]
    assert {"onnxslim", "ultralytics"} <= card["producers"].keys()
