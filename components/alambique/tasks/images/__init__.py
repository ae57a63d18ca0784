"""Image classification with YOLO26's classifiers, and torchvision's and timm's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alambique.tasks import submodules

if TYPE_CHECKING:
    from alambique.tasks.images import contract as contract
    from alambique.tasks.images import dataset as dataset
    from alambique.tasks.images import import_dataset as import_dataset
    from alambique.tasks.images import narrowing as narrowing
    from alambique.tasks.images import network as network
    from alambique.tasks.images import objectives as objectives
    from alambique.tasks.images import preprocess as preprocess
    from alambique.tasks.images import soft_labels as soft_labels
    from alambique.tasks.images import structured_pruning as structured_pruning
    from alambique.tasks.images import weights as weights

__getattr__ = submodules.importer(__name__)
