"""OpenVINO, on the CPU: converted from the ONNX graph, and INT8 by NNCF."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from alambique.runtimes.base import (
    Array,
    Budget,
    Exportable,
    Program,
    Quantization,
    Runtime,
    StaticInt8,
    TensorSpec,
    Validation,
    WeightOnly,
)

if TYPE_CHECKING:
    import onnx
    import openvino


class OpenVino(Runtime):
    name: ClassVar = "openvino"
    file: ClassVar = "model.xml"
    packages: ClassVar = ("onnx", "openvino")
    int8_packages: ClassVar = ("nncf",)
    from_graph: ClassVar = True
    quantizations: ClassVar = (StaticInt8, WeightOnly)
    accuracy_control: ClassVar = True

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        save(convert(network.graph()), path)
        return network.graph_tensors()

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> None:
        from alambique.runtimes import openvino_int8

        model = convert(network.graph())
        match how:
            case StaticInt8():
                save(openvino_int8.static(model, how), path)
            case WeightOnly():
                save(openvino_int8.weight_only(model, how), path)
            case _:
                raise self.no_quantizer()

    def quantize_with_accuracy_control(
        self, network: Exportable, how: StaticInt8, path: Path, validation: Validation, budget: Budget
    ) -> list[str]:
        from alambique.runtimes import openvino_int8

        model = convert(network.graph())
        quantized, layers = openvino_int8.static_with_accuracy_control(model, how, validation, budget.max_drop)
        save(quantized, path)
        return layers

    def open(self, path: Path, threads: int) -> Program:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Left to itself, OpenVINO computes in bfloat16 where the CPU can: FP32 would not be FP32 on every machine.
            "INFERENCE_PRECISION_HINT": "f32",
            # A pinned thread cannot leave a core that something else keeps busy; no other runtime here is pinned.
            "ENABLE_CPU_PINNING": False,
        }
        return program(openvino.Core().compile_model(path, "CPU", settings))


def convert(graph: onnx.ModelProto) -> openvino.Model:
    """The same graph for OpenVINO, in FP32."""
    import openvino

    return _renamed(openvino.convert_model(BytesIO(graph.SerializeToString())))


def save(model: openvino.Model, path: Path) -> None:
    """Write a model's .xml and, beside it, its .bin; weights keep their precision."""
    import openvino

    openvino.save_model(_renamed(model), path, compress_to_fp16=False)


def program(compiled: openvino.CompiledModel) -> Program:
    """What a compiled model computes."""
    request = compiled.create_infer_request()

    def predict(*inputs: Array) -> list[Array]:
        # The request's outputs are its own memory, overwritten by the next inference.
        return [output.copy() for output in request.infer(list(inputs)).values()]

    return predict


def _renamed(model: openvino.Model) -> openvino.Model:
    # OpenVINO names what has no name by a counter of the process; equal weights shall give equal files.
    for index, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")
    return model


RUNTIME = OpenVino()
