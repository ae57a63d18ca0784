"""An ONNX graph that somebody gave: what it says of itself, and what it puts out.

    python -m alambique.tasks.yolo.onnx_child model.onnx describe description.json
    python -m alambique.tasks.yolo.onnx_child model.onnx serve SIDE THREADS

Both run in the restricted child of `process.sandbox`, where ONNX's and ONNX Runtime's parsers meet the foreign bytes.
`serve` answers each input, float32 (1, 3, SIDE, SIDE) on stdin, by the three sizes of the first output, int64, and its
numbers, float32, on stdout.
"""

from __future__ import annotations

import ast
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnxruntime
from onnx.helper import tensor_dtype_to_np_dtype

DTYPES = ("float32", "float16", "uint8")
"""Of inputs; what is sent is turned into it."""


def describe(model: onnx.ModelProto) -> dict[str, Any]:
    """The graph's one input and first output, how many weights it has, and what Ultralytics wrote beside it.

    Returns:
        input, output: sizes, None where one is free. task, names, image_size: None where the file does not say them.
        end2end: whether it says that its output is final boxes.
    """
    graph, metadata = model.graph, {entry.key: entry.value for entry in model.metadata_props}
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ValueError(f"it has the inputs {[value.name for value in inputs]}; a detector takes one, its image")
    dtype = str(tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))
    if dtype not in DTYPES:
        raise ValueError(f"its input is of {dtype}; only {', '.join(DTYPES)} are taken")
    names, arguments = _literal(metadata.get("names")), _literal(metadata.get("args"))
    names = [str(names[key]) for key in sorted(names)] if isinstance(names, dict) else names
    suppressed = isinstance(arguments, dict) and bool(arguments.get("nms"))
    return {
        "input": _sizes(inputs[0]),
        "output": _sizes(graph.output[0]),
        "parameters": sum(math.prod(tensor.dims) for tensor in graph.initializer if len(tensor.dims) > 0),
        "task": metadata.get("task"),
        "names": names,
        "image_size": _literal(metadata.get("imgsz")),
        "end2end": suppressed or metadata.get("end2end") == "True",
    }


def serve(session: onnxruntime.InferenceSession, side: int, source: IO[bytes], target: IO[bytes]) -> None:
    """Answer inputs until there are no more."""
    (given,) = session.get_inputs()
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}[given.type]
    size = 3 * side * side * np.dtype(np.float32).itemsize
    while len(content := source.read(size)) == size:
        image = np.frombuffer(content, np.float32).reshape(1, 3, side, side).astype(dtype)
        output = np.asarray(session.run(None, {given.name: image})[0])
        if output.ndim != 3:
            raise ValueError(f"its first output has the sizes {output.shape}; a layout has three")
        target.write(np.array(output.shape, np.int64).tobytes() + output.astype(np.float32).tobytes())
        target.flush()


def load(path: Path) -> onnx.ModelProto:
    """The graph; a ValueError where its tensors lie in other files, which nobody pinned."""
    model = onnx.load(path, load_external_data=False)
    if outside := next((tensor.name for tensor in _tensors(model) if tensor.data_location), None):
        raise ValueError(f"its tensor {outside} lies in another file; export it with its tensors inside")
    return model


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """All tensors of a message, those of nested graphs too."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "__len__") else (value,):
                if isinstance(inner, onnx.TensorProto):
                    yield inner
                else:
                    yield from _tensors(inner)


def _sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    return [size.dim_value or None for size in value.type.tensor_type.shape.dim]


def _literal(text: str | None) -> Any:
    """A Python literal, as Ultralytics writes its metadata."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        return None


def _session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def main(file: str, action: str, *arguments: str) -> None:
    model = load(Path(file))
    if action == "describe":
        description = describe(model)
        _session(model, 1)
        Path(arguments[0]).write_text(json.dumps(description))
    else:
        answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what a library prints is no answer
        serve(_session(model, int(arguments[1])), int(arguments[0]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(" ".join(str(error).split())[:400])
