"""ncnn, on the CPU: a .param and a .bin beside it, from the torch module by pnnx. Its tensors have no batch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from alambique.runtimes.base import Array, Exportable, Program, Runtime, TensorSpec, missing


class Ncnn(Runtime):
    """A program takes and gives arrays with a batch of one nevertheless."""

    name: ClassVar = "ncnn"
    file: ClassVar = "model.param"
    packages: ClassVar = ("ultralytics", "ncnn", "pnnx")
    from_graph: ClassVar = False

    def unavailable(self) -> str | None:
        return missing(("ncnn", "pnnx"), '"alambique[ncnn]"')

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        from ultralytics.utils.export.ncnn import torch2ncnn

        module = network.module(self.name)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(torch2ncnn(module, network.example[0], Path(scratch)))
            for suffix in (".param", ".bin"):
                shutil.copyfile(folder / f"model.ncnn{suffix}", path.with_suffix(suffix))
        specs = network.module_tensors(module)
        names = ["in0", *(f"out{index}" for index in range(len(specs) - 1))]
        return [TensorSpec(name, spec.shape[1:], spec.dtype) for name, spec in zip(names, specs, strict=True)]

    def open(self, path: Path, threads: int) -> Program:
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        # Left to itself, ncnn stores and computes in half precision where the CPU can.
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        net.load_param(str(path))
        net.load_model(str(path.with_suffix(".bin")))
        names = net.output_names()

        def predict(*inputs: Array) -> list[Array]:
            with net.create_extractor() as extractor:
                extractor.input("in0", ncnn.Mat(inputs[0][0]))
                return [np.array(extractor.extract(name)[1])[None] for name in names]

        return predict


RUNTIME = Ncnn()
