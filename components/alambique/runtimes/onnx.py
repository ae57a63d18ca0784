"""ONNX Runtime, on the CPU: the ONNX graph as it is, and INT8 by its own quantization tools.

NNCF quantizes ONNX graphs, too, but leaves the activation functions in float, and every activation is turned to float
and back: a YOLO26n of its making took 46 ms where FP32 took 17 ms and ONNX Runtime's own 11 ms.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from alambique.runtimes.base import (
    Array,
    Budget,
    DynamicInt8,
    Exportable,
    Program,
    Quantization,
    Runtime,
    StaticInt8,
    TensorSpec,
    Validation,
    WeightOnly,
)


class OnnxRuntime(Runtime):
    name: ClassVar = "onnx"
    file: ClassVar = "model.onnx"
    packages: ClassVar = ("onnx",)
    int8_packages: ClassVar = ("onnxruntime",)
    from_graph: ClassVar = True
    quantizations: ClassVar = (StaticInt8, DynamicInt8, WeightOnly)
    accuracy_control: ClassVar = True

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        import onnx

        onnx.save(network.graph(), path)
        return network.graph_tensors()

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> None:
        import onnx

        from alambique.runtimes import onnx_int8

        onnx.save(onnx_int8.quantized(network.graph(), how), path)

    def quantize_with_accuracy_control(
        self, network: Exportable, how: StaticInt8, path: Path, validation: Validation, budget: Budget
    ) -> list[str]:
        import torch

        from alambique.runtimes import onnx_accuracy_control

        def holds(path: Path) -> bool:
            return validation.headline(self.open(path, torch.get_num_threads())) >= budget.floor

        return onnx_accuracy_control.quantize(network.graph(), how, path, holds)

    def open(self, path: Path, threads: int) -> Program:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]

        def predict(*inputs: Array) -> list[Array]:
            outputs: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
            return outputs

        return predict


RUNTIME = OnnxRuntime()
