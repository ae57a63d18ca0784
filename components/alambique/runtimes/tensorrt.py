"""TensorRT, on the first NVIDIA GPU: plans from the ONNX graph, FP16 or INT8, for this machine's kind of GPU alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from alambique.runtimes.base import Array, Exportable, Program, Quantization, Runtime, StaticInt8, TensorSpec, missing


class TensorRt(Runtime):
    """What the GPU does is no matter of threads."""

    name: ClassVar = "engine"
    file: ClassVar = "model.engine"
    packages: ClassVar = ("ultralytics", "onnx", "nvidia-modelopt", "tensorrt")
    arithmetic: ClassVar = "float16"
    from_graph: ClassVar = True
    quantizations: ClassVar = (StaticInt8,)

    def unavailable(self) -> str | None:
        import torch

        if not torch.cuda.is_available():
            return "TensorRT builds for the NVIDIA GPU of its own machine, and torch.cuda finds none here"
        return missing(("tensorrt", "modelopt"), 'tensorrt "alambique[qat]"')

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        """Build a plan in FP16, with FP32 where the converter finds that half precision would not hold a value."""
        _build(network, path, 16, None)
        return network.graph_tensors()

    def quantize(self, network: Exportable, how: Quantization, path: Path) -> None:
        """Build a plan in INT8, calibrated on images; Ultralytics keeps the head's outputs in floating point."""
        import torch
        from torch.utils.data import DataLoader

        if not isinstance(how, StaticInt8):
            raise self.no_quantizer()
        # Its calibrators divide by 255, as its datasets hold bytes.
        batches: Any = [{"img": torch.from_numpy(image[0]) * 255} for image in how.inputs]
        _build(network, path, 8, DataLoader(batches))

    def open(self, path: Path, threads: int) -> Program:
        """The copies to the GPU and back are part of the program."""
        import tensorrt
        import torch

        engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING)).deserialize_cuda_engine(path.read_bytes())
        context = engine.create_execution_context()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        tensors = {name: torch.empty(tuple(engine.get_tensor_shape(name)), device="cuda") for name in names}
        for name, tensor in tensors.items():
            context.set_tensor_address(name, tensor.data_ptr())
        taken = [name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT]

        def predict(*inputs: Array) -> list[Array]:
            for name, array in zip(taken, inputs, strict=True):
                tensors[name].copy_(torch.from_numpy(array))
            context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
            return [tensors[name].cpu().numpy() for name in names if name not in taken]

        return predict


def _build(network: Exportable, path: Path, bits: int, calibration: Any) -> None:
    import onnx
    from ultralytics.utils.export.engine import onnx2engine

    graph = network.graph()
    shape = tuple(size.dim_value for size in graph.graph.input[0].type.tensor_type.shape.dim)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "model.onnx"
        onnx.save(graph, source)
        onnx2engine(str(source), path, quantize=bits, shape=shape, dataset=calibration)


RUNTIME = TensorRt()
