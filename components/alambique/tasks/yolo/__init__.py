"""Detection, instance segmentation, poses and oriented boxes with Ultralytics' networks.

task.py              the primitives of these tasks, which the stages are written over
heads.py             what Ultralytics has for each head
dataset.py           labels of each head; decoding.py: outputs of each head
trainer.py           training; objective.py: what is minimised; distillation_loss.py: the KL divergence and its schedule
pruning.py           structured pruning, over widths.py, sensitivity.py, channel_importance.py, structured_pruning.py
export.py            the network as converters take it; quantization.py, qat.py: INT8
evaluate.py          measuring, over matching.py and average_precision.py
soft_labels.py       the teachers' predictions; teacher_fusion.py: how several teachers' boxes are fused
"""

from __future__ import annotations

from alambique.tasks import Task
from alambique.tasks.yolo.task import Detect, Obb, Pose, Segment

TASKS: dict[str, Task] = {"detect": Detect(), "segment": Segment(), "pose": Pose(), "obb": Obb()}
"""By name in params.yaml."""
