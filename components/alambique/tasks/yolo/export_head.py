"""A head that answers with its objects in whole rows, as OpenVINO can read them.

Ultralytics' picks the best objects' boxes and the rest of each apart. OpenVINO 2026.4 takes the cut before such a pick
for one that does nothing, and then refuses the graph; picking whole rows, and cutting them afterwards, is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from ultralytics.nn.modules import OBB26, Detect, Pose26, Segment26
from ultralytics.nn.tasks import DetectionModel

from alambique.tasks.detect.network import prefer_one_to_one


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


def in_whole_rows(model: DetectionModel) -> DetectionModel:
    """Make a network answer with its final objects by its one-to-one branch, in place; and return it."""
    prefer_one_to_one(model)
    head = model.model[-1]
    head.__class__ = WHOLE[type(head)]
    return model
