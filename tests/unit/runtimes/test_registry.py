from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
import torch

from alambique.config import section
from alambique.errors import ConfigurationError, DataError
from alambique.runtimes import RUNTIMES, load, require_available, unavailable

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))  # an import of these fails as if they were not installed
from alambique.runtimes import unavailable
print(unavailable([sys.argv[1]]).get(sys.argv[1]))
"""
LIGHT = """
import sys
import alambique.runtimes
print(sorted({"torch", "onnx", "onnxruntime", "openvino", "nncf", "ncnn", "MNN", "executorch"} & set(sys.modules)))
"""


def python(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_runtime_of_params_yaml_is_registered_under_its_name() -> None:
    assert set(RUNTIMES) == set(get_args(section.Runtime))
    assert all(runtime.name == name for name, runtime in RUNTIMES.items())


def test_files_have_distinct_names() -> None:
    assert len({runtime.file for runtime in RUNTIMES.values()}) == len(RUNTIMES)


def test_an_unknown_runtime_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(DataError, match="no runtime is named 'litert'; known are onnx, openvino"):
        load("litert")


def test_the_registry_loads_no_runtime() -> None:
    assert python(LIGHT) == "[]"


def test_what_the_ml_extra_brings_is_available() -> None:
    assert unavailable(["onnx", "openvino", "torchscript"]) == {}


@pytest.mark.parametrize(
    ("runtime", "module"), [("ncnn", "ncnn"), ("ncnn", "pnnx"), ("executorch", "executorch"), ("mnn", "MNN")]
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(runtime: str, module: str) -> None:
    expected = f'{module} cannot be imported; run `pip install "alambique[{runtime}]"`'
    assert python(WITHOUT, runtime, module) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_tensorrt_is_refused_without_a_gpu() -> None:
    assert "NVIDIA GPU" in unavailable(["engine"])["engine"]


@pytest.mark.skipif(sys.platform == "darwin", reason="this is an Apple machine")
def test_core_ml_is_refused_elsewhere_than_on_apple_machines() -> None:
    assert "Apple machines only" in unavailable(["onnx", "coreml"])["coreml"]


@pytest.mark.skipif(sys.platform == "darwin", reason="this is an Apple machine")
def test_every_impossible_runtime_is_in_one_refusal_with_its_reason() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        require_available(["onnx", "coreml"])
    first, *reasons = str(refusal.value).splitlines()
    assert first.startswith("runtimes: these cannot be made here")
    assert [reason.split(":")[0] for reason in reasons] == ["- coreml"]


def test_possible_runtimes_pass() -> None:
    require_available(["onnx", "openvino"])
