"""Detection, instance segmentation, poses and oriented boxes with Ultralytics' networks.

task.py              the primitives of these tasks, which the stages are written over
dataset.py           labels of each head; decoding.py: outputs of each head
trainer.py           training; objective.py: what is minimised; distillation_loss.py: the KL divergence and its schedule
pruning.py           structured pruning, over widths.py, sensitivity.py, channel_importance.py, structured_pruning.py
export.py            the network as converters take it; quantization.py, qat.py: INT8
evaluate.py          measuring, over matching.py and average_precision.py
soft_labels.py       the teachers' predictions; teacher_fusion.py: how several teachers' boxes are fused
onnx_teacher.py      a detector that somebody else exported; onnx_reading.py, onnx_trust.py: how it is read, and whether
                     rightly
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alambique.tasks import submodules

if TYPE_CHECKING:
    from alambique.tasks.yolo import bootstrap as bootstrap
    from alambique.tasks.yolo import class_selection as class_selection
    from alambique.tasks.yolo import dataset as dataset
    from alambique.tasks.yolo import decoding as decoding
    from alambique.tasks.yolo import drift_features as drift_features
    from alambique.tasks.yolo import evaluate as evaluate
    from alambique.tasks.yolo import export as export
    from alambique.tasks.yolo import inspection as inspection
    from alambique.tasks.yolo import matching as matching
    from alambique.tasks.yolo import narrowing as narrowing
    from alambique.tasks.yolo import network as network
    from alambique.tasks.yolo import objective as objective
    from alambique.tasks.yolo import onnx_reading as onnx_reading
    from alambique.tasks.yolo import onnx_teacher as onnx_teacher
    from alambique.tasks.yolo import onnx_trust as onnx_trust
    from alambique.tasks.yolo import pictures as pictures
    from alambique.tasks.yolo import production_images as production_images
    from alambique.tasks.yolo import pruning as pruning
    from alambique.tasks.yolo import qat as qat
    from alambique.tasks.yolo import quantization as quantization
    from alambique.tasks.yolo import soft_labels as soft_labels
    from alambique.tasks.yolo import trainer as trainer

__getattr__ = submodules.importer(__name__)
