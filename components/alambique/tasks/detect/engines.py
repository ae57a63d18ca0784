"""Every runtime's engine behind one signature: what it is given and what it answers do not tell which it was.

Each function loads one file, and imports its runtime only then. `threads` is what the engine computes with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

Engine = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From one input, (1, 3, size, size), to its boxes, (1, n, 6), in memory that the next call leaves alone."""

MAX_BOXES = 300
"""What Ultralytics' end-to-end head answers with at most, `Detect.max_det`."""


def checkpoint(weights: Path, threads: int) -> Engine:
    """A student or teacher as it was trained."""
    import torch

    from alambique.tasks.detect import network
    from alambique.tasks.detect.suppression import end_to_end

    torch.set_num_threads(threads)
    model = end_to_end(network.load(weights))

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        output = model(torch.from_numpy(image))
        # Outside an export the head also returns what training would need.
        boxes: NDArray[np.float32] = (output[0] if isinstance(output, tuple) else output).numpy()
        return boxes

    return predict


def onnx(model: Path, threads: int) -> Engine:
    """ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        boxes: NDArray[np.float32] = session.run(None, {name: image})[0]
        return boxes

    return predict


def openvino(model: Path, threads: int) -> Engine:
    """OpenVINO, on the CPU."""
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

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        # The request's output is its own memory, overwritten by the next inference.
        boxes: NDArray[np.float32] = request.infer([image])[0].copy()
        return boxes

    return predict


def torchscript(program: Path, threads: int) -> Engine:
    """TorchScript's interpreter, on the CPU."""
    import torch

    if _holds_suppression(program):
        import torchvision  # noqa: F401 - has the operator

    torch.set_num_threads(threads)
    model = torch.jit.load(program, map_location="cpu")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        boxes: NDArray[np.float32] = model(torch.from_numpy(image)).numpy()
        return boxes

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

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image[0]))
            return best(np.array(extractor.extract("out0")[1]))

    return predict


def executorch(program: Path, threads: int) -> Engine:
    """ExecuTorch with XNNPACK, on the CPU."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(program).load_method("forward")

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        boxes: NDArray[np.float32] = method.execute([torch.from_numpy(image)])[0].numpy().copy()
        return boxes

    return predict


def tensorrt(plan: Path, threads: int) -> Engine:
    """TensorRT, on the first NVIDIA GPU, whose work is no matter of `threads`; the copies there and back are part."""
    import tensorrt
    import torch

    engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING)).deserialize_cuda_engine(plan.read_bytes())
    context = engine.create_execution_context()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    given, found = (torch.empty(tuple(engine.get_tensor_shape(name)), device="cuda") for name in names)
    for name, tensor in zip(names, (given, found), strict=True):
        context.set_tensor_address(name, tensor.data_ptr())

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        given.copy_(torch.from_numpy(image))
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        boxes: NDArray[np.float32] = found.cpu().numpy()
        return boxes

    return predict


def coreml(package: Path, threads: int) -> Engine:
    """Core ML, on an Apple machine's CPU; it chooses its own number of threads."""
    import coremltools

    model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit.CPU_ONLY)

    def predict(image: NDArray[np.float32]) -> NDArray[np.float32]:
        boxes: NDArray[np.float32] = next(iter(model.predict({"images": image}).values()))
        return boxes

    return predict


def _holds_suppression(program: Path) -> bool:
    with ZipFile(program) as archive:
        code = (name for name in archive.namelist() if name.endswith(".py"))
        return any(b"torchvision" in archive.read(name) for name in code)


def best(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """The boxes of the highest scores, as Ultralytics' end-to-end head chooses them (`Detect.get_topk_index`).

    Args:
        places: of the one-to-one branch, decoded, (places, 4 + classes): x1, y1, x2, y2, a score for each class.
    Returns:
        x1, y1, x2, y2, score, class index, by falling score, (1, n, 6), n ≤ MAX_BOXES.
    """
    count = min(MAX_BOXES, len(places))
    likely = np.argpartition(-places[:, 4:].max(axis=1), count - 1)[:count]
    chosen = places[np.sort(likely)]  # equal scores in the order of their places
    scores = chosen[:, 4:]
    order = np.argsort(-scores, axis=None, kind="stable")[:count]
    rows, classes = np.unravel_index(order, scores.shape)
    boxes = np.column_stack([chosen[rows, :4], scores[rows, classes], classes])
    return boxes.astype(np.float32)[None]


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
