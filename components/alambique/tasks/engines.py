"""Every runtime's engine behind one signature: what it is given and what it answers do not tell which it was.

Each function loads one file, and imports its runtime only then. `threads` is what the engine computes with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

Engine = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From one input, (1, …), to the first output, (1, …), in memory that the next call leaves alone."""

WholeEngine = Callable[[NDArray[Any]], list[NDArray[np.float32]]]
"""The same, to all outputs."""


def onnx(model: Path, threads: int) -> Engine:
    """ONNX Runtime, on the CPU."""
    return _first(whole_onnx(model, threads))


def whole_onnx(model: Path, threads: int) -> WholeEngine:
    """The same with all outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(None, {name: given})
        return outputs

    return predict


def openvino(model: Path, threads: int) -> Engine:
    """OpenVINO, on the CPU."""
    return _first(whole_openvino(model, threads))


def whole_openvino(model: Path, threads: int) -> WholeEngine:
    """The same with all outputs."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # Left to itself, OpenVINO computes in bfloat16 where the CPU can: FP32 would not be FP32 on every machine.
        "INFERENCE_PRECISION_HINT": "f32",
        # A pinned thread cannot leave a core that something else keeps busy; no other engine here is pinned.
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def predict(given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        # The request's outputs are its own memory, overwritten by the next inference.
        return [output.copy() for output in request.infer([given]).values()]

    return predict


def torchscript(program: Path, threads: int) -> Engine:
    """TorchScript's interpreter, on the CPU."""
    return _first(whole_torchscript(program, threads))


def whole_torchscript(program: Path, threads: int) -> WholeEngine:
    """The same with all outputs."""
    import torch

    if _holds_suppression(program):
        import torchvision  # noqa: F401 - has the operator

    torch.set_num_threads(threads)
    model = torch.jit.load(program, map_location="cpu")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def predict(given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        answer = model(torch.from_numpy(given))
        return [output.numpy() for output in (answer if isinstance(answer, tuple) else (answer,))]

    return predict


def ncnn(param: Path, threads: int) -> Engine:
    """ncnn, on the CPU, from a .param and the .bin beside it."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    # Left to itself, ncnn stores and computes in half precision where the CPU can.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def predict(given: NDArray[np.float32]) -> NDArray[np.float32]:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(given[0]))
            return np.array(extractor.extract("out0")[1])[None]

    return predict


def executorch(program: Path, threads: int) -> Engine:
    """ExecuTorch with XNNPACK, on the CPU."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(program).load_method("forward")

    def predict(given: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = method.execute([torch.from_numpy(given)])[0].numpy().copy()
        return output

    return predict


def tensorrt(plan: Path, threads: int) -> Engine:
    """TensorRT, on the first NVIDIA GPU, whose work is no matter of `threads`; the copies there and back are part."""
    import tensorrt
    import torch

    engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING)).deserialize_cuda_engine(plan.read_bytes())
    context = engine.create_execution_context()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    taken, found = (torch.empty(tuple(engine.get_tensor_shape(name)), device="cuda") for name in names)
    for name, tensor in zip(names, (taken, found), strict=True):
        context.set_tensor_address(name, tensor.data_ptr())

    def predict(given: NDArray[np.float32]) -> NDArray[np.float32]:
        taken.copy_(torch.from_numpy(given))
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        output: NDArray[np.float32] = found.cpu().numpy()
        return output

    return predict


def coreml(package: Path, threads: int) -> Engine:
    """Core ML, on an Apple machine's CPU; it chooses its own number of threads."""
    import coremltools

    model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit.CPU_ONLY)

    def predict(given: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = next(iter(model.predict({"images": given}).values()))
        return output

    return predict


def _first(predict: WholeEngine) -> Engine:
    return lambda given: predict(given)[0]


def _holds_suppression(program: Path) -> bool:
    with ZipFile(program) as archive:
        code = (name for name in archive.namelist() if name.endswith(".py"))
        return any(b"torchvision" in archive.read(name) for name in code)


ENGINES: dict[str, Callable[[Path, int], Engine]] = {
    "onnx": onnx,
    "openvino": openvino,
    "torchscript": torchscript,
    "ncnn": ncnn,
    "executorch": executorch,
    "engine": tensorrt,
    "coreml": coreml,
}
"""What opens a runtime's file."""
