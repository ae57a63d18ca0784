"""Core ML, on an Apple machine's CPU: an ML program in FP32, from the torch module by Ultralytics' converter."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import ClassVar
from uuid import NAMESPACE_OID, uuid5

from alambique.runtimes.base import Array, Exportable, Program, Runtime, TensorSpec, missing


class CoreMl(Runtime):
    """It chooses its own number of threads."""

    name: ClassVar = "coreml"
    file: ClassVar = "model.mlpackage"
    packages: ClassVar = ("ultralytics", "coremltools")
    from_graph: ClassVar = False

    def unavailable(self) -> str | None:
        if platform.system() != "Darwin":
            return f"Core ML runs on Apple machines only, and this one is {platform.system()}"
        return missing(("coremltools",), "coremltools")

    def write(self, network: Exportable, path: Path) -> list[TensorSpec]:
        import coremltools
        from ultralytics.utils.export.coreml import torch2coreml

        module, image = network.module(self.name), network.example[0]
        tensor = coremltools.TensorType(network.inputs[0], shape=tuple(image.shape))
        model = torch2coreml(module, [tensor], image, classifier_names=None)
        model.save(str(path))
        _rename_items(path / "Manifest.json")
        given, *outputs = network.module_tensors(module)
        names = [value.name for value in model.get_spec().description.output]  # Core ML's own
        return [given, *(spec._replace(name=name) for spec, name in zip(outputs, names, strict=True))]

    def open(self, path: Path, threads: int) -> Program:
        import coremltools

        model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)
        description = model.get_spec().description
        names = [value.name for value in description.input]
        outputs = [value.name for value in description.output]

        def predict(*inputs: Array) -> list[Array]:
            computed = model.predict(dict(zip(names, inputs, strict=True)))
            return [computed[name] for name in outputs]

        return predict


def _rename_items(manifest: Path) -> None:
    """Give a package's items identifiers that follow from their paths, in place of random ones."""
    text = manifest.read_text()
    for identifier, item in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid5(NAMESPACE_OID, item["path"])))
    manifest.write_text(json.dumps(json.loads(text), indent=4, sort_keys=True))


RUNTIME = CoreMl()
