"""What `Runtime` promises, for each that can be made here."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import tiny_exportables

from alambique.errors import ConfigurationError
from alambique.files import folder_sha256
from alambique.runtimes import RUNTIMES, load
from alambique.runtimes.base import Exportable, StaticInt8, TensorSpec, Validation

Written = Callable[[str], Path]

SLOW = {"executorch"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in RUNTIMES]
FP32_ONLY = [name for name, runtime in RUNTIMES.items() if not runtime.quantizations]


@pytest.mark.parametrize("name", NAMES)
def test_a_program_computes_what_torch_computes(name: str, written: Written, classifier: Exportable) -> None:
    program, module = load(name).open(written(name), 1), classifier.module(name)
    for image in tiny_exportables.images(3):
        (logits,) = program(image)
        np.testing.assert_allclose(logits, module(torch.from_numpy(image)).numpy(), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_outlive_the_next_call(name: str, written: Written) -> None:
    program, (first, second) = load(name).open(written(name), 1), tiny_exportables.images(2)
    (logits,) = program(first)
    before = logits.copy()
    program(second)
    assert (logits == before).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "torchscript"])
def test_equal_weights_give_equal_files(name: str, written: Written, classifier: Exportable, tmp_path: Path) -> None:
    path = written(name)
    load(name).write(classifier, tmp_path / path.name)
    assert folder_sha256(tmp_path) == folder_sha256(path.parent)


@pytest.mark.parametrize("name", NAMES)
def test_files_name_neither_this_machine_nor_its_folders(name: str, written: Written) -> None:
    for path in written(name).parent.iterdir():
        parts = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts = [archive.read(entry) for entry in archive.namelist()]
        for part in parts:
            assert not any(place in part for place in (str(Path.home()).encode(), b"/tmp/", b"site-packages"))


@pytest.mark.parametrize("name", NAMES)
def test_the_tensors_are_described_as_the_runtime_has_them(
    name: str, written: Written, classifier: Exportable, tmp_path: Path
) -> None:
    specs = load(name).write(classifier, tmp_path / written(name).name)
    side = tiny_exportables.SIZE
    if name == "ncnn":  # whose tensors have no batch
        assert specs == [TensorSpec("in0", [3, side, side], "float32"), TensorSpec("out0", [4], "float32")]
    else:
        assert specs == [TensorSpec("images", [1, 3, side, side], "float32"), TensorSpec("logits", [1, 4], "float32")]


@pytest.mark.parametrize("name", ["onnx", "openvino", "torchscript", "mnn"])
def test_all_outputs_are_given(name: str, tmp_path: Path) -> None:
    runtime = load(name)
    if reason := runtime.unavailable():
        pytest.skip(reason)
    network = tiny_exportables.exportable(tiny_exportables.TwoOutputs(), outputs=("logits", "features"))
    specs = runtime.write(network, tmp_path / runtime.file)
    assert [spec.name for spec in specs] == ["images", "logits", "features"]
    (image,) = tiny_exportables.images(1)
    outputs = runtime.open(tmp_path / runtime.file, 1)(image)
    expected = network.module(name)(torch.from_numpy(image))
    for output, tensor in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, tensor.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_inputs_are_positional_and_of_any_size(name: str, tmp_path: Path) -> None:
    runtime, network = load(name), tiny_exportables.tokens()
    specs = runtime.write(network, tmp_path / runtime.file)
    assert specs[:2] == [TensorSpec("ids", [1, -1], "int64"), TensorSpec("past", [1, -1], "float32")]
    program, module = runtime.open(tmp_path / runtime.file, 1), network.module(name)
    for tokens, past in ((4, 0), (1, 6)):
        ids, before = np.arange(tokens)[None], np.ones((1, past), np.float32)
        logits, remembered = program(ids, before)
        expected = module(torch.from_numpy(ids), torch.from_numpy(before))
        np.testing.assert_allclose(logits, expected[0].numpy(), atol=1e-5)
        assert remembered.shape == (1, tokens + past)


def test_a_graph_is_made_once_for_a_network() -> None:
    graphs = []

    def graph() -> object:
        graphs.append(object())
        return graphs[-1]

    network = Exportable(graph, lambda runtime: None, (), 17)  # type: ignore[arg-type, return-value]
    assert network.graph() is network.graph()
    assert len(graphs) == 1


@pytest.mark.parametrize("name", FP32_ONLY)
def test_a_runtime_without_int8_refuses_it(name: str, classifier: Exportable, tmp_path: Path) -> None:
    runtime, how = load(name), StaticInt8([], ())
    refusal = f"int8: {name} has no quantizer here; take it out of `int8`"
    with pytest.raises(ConfigurationError, match=refusal):
        runtime.quantize(classifier, how, tmp_path / runtime.file)
    with pytest.raises(ConfigurationError, match=refusal):
        runtime.quantize_with_accuracy_control(
            classifier, how, tmp_path / runtime.file, Validation([], lambda program, samples: (0.0, [])), 0.5
        )
