"""ExecuTorch with XNNPACK, on the CPU: lowered from the torch module by Ultralytics' converter."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from alambique.runtimes.base import Array, Exportable, Program, Runtime, TensorSpec, missing


class ExecuTorch(Runtime):
    name: ClassVar = "executorch"
    file: ClassVar = "model.pte"
    packages: ClassVar = ("ultralytics", "executorch")
    from_graph: ClassVar = False

    def unavailable(self) -> str | None:
        return missing(("executorch",), '"alambique[executorch]"')

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        from ultralytics.utils.export.executorch import torch2executorch

        module = network.module(self.name)
        with tempfile.TemporaryDirectory() as scratch:
            folder = torch2executorch(module, network.example[0], Path(scratch))
            shutil.copyfile(Path(folder) / "model.pte", path)
        return network.module_tensors(module)

    def open(self, path: Path, threads: int) -> Program:
        import torch
        from executorch import runtime
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        _unsafe_reset_threadpool(threads)
        method = runtime.Runtime.get().load_program(path).load_method("forward")

        def predict(*inputs: Array) -> list[Array]:
            outputs = method.execute([torch.from_numpy(array) for array in inputs])
            return [output.numpy().copy() for output in outputs]

        return predict


RUNTIME = ExecuTorch()
