"""A detector's answer on every runtime: its final boxes, best first, whatever the file can choose by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alambique.tasks import engines
from alambique.tasks.engines import Engine

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


def ncnn(param: Path, threads: int) -> Engine:
    """ncnn, whose files answer with every place's box, since they cannot choose the best."""
    predict = engines.ncnn(param, threads)
    return lambda image: best(predict(image)[0])


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


ENGINES: dict[str, Callable[[Path, int], Engine]] = {**engines.ENGINES, "ncnn": ncnn}
"""What opens a runtime's file. From one input, (1, 3, size, size), to its boxes, (1, n, 6)."""
