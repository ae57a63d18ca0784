"""Image classification with YOLO26's classifiers, and torchvision's and timm's."""

from alambique.tasks.images.task import CLASSIFY

__all__ = ["CLASSIFY"]
