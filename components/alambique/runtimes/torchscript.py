"""TorchScript, on the CPU: traced from the torch module by Ultralytics' converter."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import ClassVar
from zipfile import ZipFile

from alambique.runtimes.base import Array, Exportable, Program, Runtime, TensorSpec


class TorchScript(Runtime):
    name: ClassVar = "torchscript"
    file: ClassVar = "model.torchscript"
    packages: ClassVar = ("ultralytics",)
    from_graph: ClassVar = False

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        """Write an archive without the names and lines of the source files that it was traced from.

        Equal weights give equal bytes from a fresh process, as a stage's is: TorchScript numbers what a process has
        traced.
        """
        from ultralytics.utils.export.torchscript import torch2torchscript

        module = network.module(self.name)
        with tempfile.TemporaryDirectory() as scratch:
            # The archive's own folder is named after its file.
            _copy_without_sources(Path(torch2torchscript(module, network.example, Path(scratch) / path.name)), path)
        return network.module_tensors(module)

    def open(self, path: Path, threads: int) -> Program:
        import torch

        if _uses_torchvision(path):
            import torchvision  # noqa: F401 - has the operator that suppresses overlapping boxes

        torch.set_num_threads(threads)
        model = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

        @torch.inference_mode()
        def predict(*inputs: Array) -> list[Array]:
            outputs = model(*(torch.from_numpy(array) for array in inputs))
            return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

        return predict


def _copy_without_sources(traced: Path, path: Path) -> None:
    with ZipFile(traced) as source, ZipFile(path, "w") as target:
        kept = [entry for entry in source.infolist() if not entry.filename.endswith(".debug_pkl")]
        digest = sha256()
        for entry in kept:
            content = source.read(entry)
            if entry.filename.endswith("/.data/serialization_id"):  # the last entry; torch's own counts the sources in
                content = f"{int(digest.hexdigest(), 16) % 10**40:040d}".encode()
            digest.update(content)
            target.writestr(entry, content)


def _uses_torchvision(program: Path) -> bool:
    with ZipFile(program) as archive:
        code = (name for name in archive.namelist() if name.endswith(".py"))
        return any(b"torchvision" in archive.read(name) for name in code)


RUNTIME = TorchScript()
