"""MNN, on the CPU: converted from the ONNX graph, in FP32 or with weights in 8 or 4 bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from alambique.runtimes.base import Array, Exportable, Program, Quantization, Runtime, TensorSpec, WeightOnly, missing


class Mnn(Runtime):
    """Its INT8 is weight-only: convolutions and products keep their weights in 8 bits with a scale for each output
    channel, which MNN turns to FP32 when it loads them. Files are smaller; what is computed, and how fast, is FP32.
    """

    name: ClassVar = "mnn"
    file: ClassVar = "model.mnn"
    packages: ClassVar = ("onnx", "mnn")
    from_graph: ClassVar = True
    quantizations: ClassVar = (WeightOnly,)

    def unavailable(self) -> str | None:
        return missing(("MNN",), '"alambique[mnn]"')

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        _convert(network, path)
        return network.graph_tensors()

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> None:
        if not isinstance(how, WeightOnly):
            raise self.no_quantizer()
        _convert(network, path, "--weightQuantBits", str(how.bits))

    def open(self, path: Path, threads: int) -> Program:
        from MNN import expr, nn

        # "high": FP32 throughout, also where the CPU has half precision.
        settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
        manager = nn.create_runtime_manager((settings,))
        module = nn.load_module_from_file(str(path), [], [], runtime_manager=manager)

        def predict(*inputs: Array) -> list[Array]:
            tensors = [expr.const(np.ascontiguousarray(array), list(array.shape), expr.NCHW) for array in inputs]
            # An output is the module's own memory, overwritten by the next inference.
            return [np.array(expr.convert(output, expr.NCHW).read()) for output in module.forward(tensors)]

        return predict


def _convert(network: Exportable, path: Path, *options: str) -> None:
    """Write what MNN's converter makes of the graph, with an identifier of its content in place of a random one."""
    import onnx

    # The native converter: its wrapper `MNN.tools.mnnconvert` installs a package that reports to its vendor when it is
    # imported, and calls there.
    from _tools import mnnconvert
    from MNN import get_model_uuid

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "model.onnx", Path(scratch) / path.name
        onnx.save(network.graph(), source)
        mnnconvert(["", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), *options])
        content, random = target.read_bytes(), get_model_uuid(str(target)).encode()
    before, _, after = content.partition(random)
    path.write_bytes(before + str(uuid5(NAMESPACE_OID, (before + after).hex())).encode() + after)


RUNTIME = Mnn()
