from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from factories import tiny_exportables

from alambique.process.environment import prepare
from alambique.runtimes import load
from alambique.runtimes.base import Exportable, TensorSpec

prepare()


@pytest.fixture(scope="session")
def classifier() -> Exportable:
    return tiny_exportables.exportable(tiny_exportables.Classifier(), outputs=("logits",))


@pytest.fixture(scope="session")
def written(classifier: Exportable, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The classifier's FP32 file of a runtime, written once. Read-only."""
    paths: dict[str, tuple[Path, list[TensorSpec]]] = {}

    def write(name: str) -> Path:
        runtime = load(name)
        if reason := runtime.unavailable():
            pytest.skip(reason)
        if name not in paths:
            path = tmp_path_factory.mktemp(name) / runtime.file
            paths[name] = path, runtime.write(classifier, path)
        return paths[name][0]

    return write
