from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from alambique.errors import ConfigurationError
from alambique.tasks import load, require_available
from alambique.tasks.availability import unavailable

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))  # an import of these fails as if they were not installed
from alambique.tasks.availability import unavailable
print(unavailable([sys.argv[1]]).get(sys.argv[1]))
"""


def reason_without(runtime: str, *modules: str) -> str:
    """What is said of a runtime by an interpreter that lacks some modules."""
    command = [sys.executable, "-c", WITHOUT, runtime, *modules]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_what_the_ml_extra_brings_is_available() -> None:
    assert unavailable(["onnx", "openvino", "torchscript"]) == {}


@pytest.mark.parametrize(("runtime", "module"), [("ncnn", "ncnn"), ("ncnn", "pnnx"), ("executorch", "executorch")])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(runtime: str, module: str) -> None:
    expected = f'{module} cannot be imported; run `pip install "alambique[{runtime}]"`'
    assert reason_without(runtime, module) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_tensorrt_is_refused_without_a_gpu() -> None:
    assert "NVIDIA GPU" in unavailable(["engine"])["engine"]


def test_litert_is_refused_for_its_converters_torch() -> None:
    assert "litert-torch needs torch < 2.15" in unavailable(["litert"])["litert"]


@pytest.mark.skipif(sys.platform == "darwin", reason="this is an Apple machine")
def test_every_impossible_runtime_is_in_one_refusal_with_its_reason() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        require_available(load("detect"), ["onnx", "litert", "coreml"])
    first, *reasons = str(refusal.value).splitlines()
    assert first.startswith("runtimes: these cannot be made here")
    assert [reason.split(":")[0] for reason in reasons] == ["- litert", "- coreml"]


def test_possible_runtimes_pass() -> None:
    require_available(load("detect"), ["onnx", "openvino"])
