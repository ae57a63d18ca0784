from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import tiny_exportables

from alambique.errors import ConfigurationError
from alambique.files import sha256
from alambique.runtimes import load
from alambique.runtimes.base import DynamicInt8, Exportable, WeightOnly

MNN = load("mnn")
pytestmark = pytest.mark.skipif(MNN.unavailable() is not None, reason="MNN is not installed here")

ALONE = """
import sys
from pathlib import Path
from factories import tiny_exportables
from alambique.runtimes import load
load("mnn").write(tiny_exportables.exportable(tiny_exportables.Classifier()), Path(sys.argv[1]))
print([name for name in sys.modules if name.startswith("MNN.tools")])
"""


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_in_few_bits_make_smaller_equal_files_that_compute_about_the_same(
    bits: int, written: Callable[[str], Path], classifier: Exportable, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        MNN.quantize(classifier, WeightOnly(bits), tmp_path / f"{name}.mnn")
    assert sha256(tmp_path / "first.mnn") == sha256(tmp_path / "second.mnn")
    full = written("mnn")
    assert (tmp_path / "first.mnn").stat().st_size < 0.5 * full.stat().st_size
    (image,) = tiny_exportables.images(1)
    exact, rounded = MNN.open(full, 1)(image)[0], MNN.open(tmp_path / "first.mnn", 1)(image)[0]
    assert 0 < np.abs(rounded - exact).max() < 0.1


def test_activations_are_not_quantized(classifier: Exportable, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="int8: mnn has no quantizer here"):
        MNN.quantize(classifier, DynamicInt8(), tmp_path / "model.mnn")


def test_the_tools_that_report_to_their_vendor_are_not_imported(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n" + ALONE
    command = [sys.executable, "-c", script, str(tmp_path / "model.mnn")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.splitlines()[-1] == "[]"
