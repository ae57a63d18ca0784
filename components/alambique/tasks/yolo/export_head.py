"""How a network is made to put out its final objects: by its one-to-one branch, in whole rows, or by suppression.

Ultralytics' heads for masks, poses and oriented boxes pick the best objects' boxes and the rest of each apart. OpenVINO
2026.4 takes the cut before such a pick for one that does nothing, and then refuses the graph; picking whole rows, and
cutting them afterwards, is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from ultralytics.nn.modules import OBB26, Detect, Pose26, Segment26
from ultralytics.nn.tasks import DetectionModel

from alambique.tasks.yolo.network import prefer_one_to_one
from alambique.tasks.yolo.suppression import end_to_end


class WholeRows(Detect):  # type: ignore[misc]
    """Ultralytics' choice of the best objects, row by row."""

    def postprocess(self, preds: Tensor) -> Tensor:
        """Box, class scores and the rest, (1, places, …) → box, score, class index and the rest, (1, n, …)."""
        scores, index, places = self.get_topk_index(preds[..., 4 : 4 + self.nc], self.max_det)
        rows = self._gather(preds, places)
        return torch.cat((rows[..., :4], scores, index, rows[..., 4 + self.nc :]), -1)


class WholeSegment(WholeRows, Segment26):  # type: ignore[misc]
    pass


class WholePose(WholeRows, Pose26):  # type: ignore[misc]
    pass


class WholeObb(WholeRows, OBB26):  # type: ignore[misc]
    pass


WHOLE = {Segment26: WholeSegment, Pose26: WholePose, OBB26: WholeObb}


def final_objects(model: DetectionModel) -> DetectionModel:
    """Make a network put out its final objects, as a runtime's converter takes it, in place.

    Returns:
        the network, (1, 3, size, size) → (1, n, 6 + …): box, score, class index and the rest, by falling score; and of
        masks the prototypes.
    """
    head = model.model[-1]
    if type(head) not in WHOLE:
        return end_to_end(model)
    prefer_one_to_one(model)
    head.__class__ = WHOLE[type(head)]
    return model
