from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from factories import tiny_exportables

from alambique.errors import ConfigurationError
from alambique.files import folder_sha256
from alambique.runtimes import load
from alambique.runtimes.base import DynamicInt8, Exportable, StaticInt8, WeightOnly

OPENVINO = load("openvino")


def types_of_weights(path: Path) -> set[str]:
    """Element types of the larger constants."""
    operations = openvino.Core().read_model(path).get_ordered_ops()
    constants = [operation for operation in operations if operation.get_type_name() == "Constant"]
    return {
        constant.get_element_type().get_type_name()
        for constant in constants
        if np.prod(constant.get_output_shape(0)) > 100
    }


@pytest.mark.parametrize("symmetric", [True, False])
def test_int8_files_are_equal_for_equal_inputs_and_compute_about_the_same(
    symmetric: bool, written: Callable[[str], Path], classifier: Exportable, tmp_path: Path
) -> None:
    how = StaticInt8(tiny_exportables.images(4), (), symmetric=symmetric)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        OPENVINO.quantize(classifier, how, tmp_path / name / "model.xml")
    assert folder_sha256(tmp_path / "first") == folder_sha256(tmp_path / "second")
    assert types_of_weights(tmp_path / "first/model.xml") == {"i8"}
    (image,) = tiny_exportables.images(1)
    exact = OPENVINO.open(written("openvino"), 1)(image)[0]
    assert 0 < np.abs(OPENVINO.open(tmp_path / "first/model.xml", 1)(image)[0] - exact).max() < 0.1


@pytest.mark.parametrize(("bits", "kind"), [(8, "u8"), (4, "u4")])
def test_weights_alone_are_compressed(bits: int, kind: str, tmp_path: Path) -> None:
    network, ids, past = tiny_exportables.tokens(), np.arange(6)[None], np.zeros((1, 0), np.float32)
    OPENVINO.write(network, tmp_path / "full.xml")
    OPENVINO.quantize(network, WeightOnly(bits), tmp_path / "low.xml")
    assert kind in types_of_weights(tmp_path / "low.xml")
    exact, rounded = (OPENVINO.open(tmp_path / name, 1)(ids, past)[0] for name in ("full.xml", "low.xml"))
    assert 0 < np.abs(rounded - exact).max() < 0.5


def test_dynamic_int8_is_refused(classifier: Exportable, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="int8: openvino has no quantizer here"):
        OPENVINO.quantize(classifier, DynamicInt8(), tmp_path / "model.xml")
