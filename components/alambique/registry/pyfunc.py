"""How MLflow loads a candidate: as a pyfunc, on the runtime and from the very bytes that the gate judged.

`mlflow.pyfunc.load_model("models:/cells-openvino@champion").predict(image)`: one preprocessed image, (1, 3, size,
size), float32, RGB, 0 to 1, in; its boxes, (1, n, 6), out: x1, y1, x2, y2 in input pixels, score, class index.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alambique.tasks.detect.predict import Predictor, load


class Detector:
    """What MLflow's pyfunc flavour expects of a model."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: NDArray[np.float32], params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Boxes of one image; see the module's docstring. There are no `params`."""
        return self._predictor(model_input)[None]


def _load_pyfunc(data_path: str) -> Detector:
    """Called by MLflow with the candidate's folder.

    Raises:
        IntegrityError: its files are not what its card says.
    """
    return Detector(load(Path(data_path), threads=os.cpu_count() or 1))
