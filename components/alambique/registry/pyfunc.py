"""MLflow's loader of a registered candidate: a pyfunc on the candidate's own runtime and files.

`mlflow.pyfunc.load_model("models:/cells-openvino@champion").predict(image)` passes its input to `Task.predictor` and
returns its output. A detector takes one preprocessed image, (1, 3, size, size), float32, RGB, 0 to 1, and gives
boxes, (1, n, 6): x1, y1, x2, y2 in input pixels, score, class index. Several inputs are given by name or as a list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from alambique import tasks
from alambique.files import read_json
from alambique.layout import CARD


class Student:
    """The interface that MLflow's pyfunc flavour calls."""

    def __init__(self, predictor: Callable[..., NDArray[Any]]) -> None:
        self._predictor = predictor

    def predict(
        self,
        model_input: NDArray[Any] | Mapping[str, NDArray[Any]] | Sequence[NDArray[Any]],
        params: dict[str, Any] | None = None,
    ) -> NDArray[Any]:
        """The output for one input, see the module's docstring; `params` is not used."""
        if isinstance(model_input, Mapping):
            return self._predictor(*model_input.values())
        return self._predictor(*model_input) if isinstance(model_input, list | tuple) else self._predictor(model_input)


def _load_pyfunc(data_path: str) -> Student:
    """Called by MLflow with the candidate's folder; an IntegrityError if its files are not what its card says."""
    folder = Path(data_path)
    task = tasks.load(read_json(folder / CARD)["task"])
    return Student(task.predictor(folder, threads=os.cpu_count() or 1))
