"""The tasks: a folder for each kind of network, over the protocol `Task`.

yolo/          detect, segment, pose, obb: YOLO26, YOLO11, YOLOv8; what differs is the head
images/        classify: YOLO26-cls, torchvision, timm
transformers/  text, text_classify: Llamas and BERTs
"""

from __future__ import annotations

from typing import Protocol

from alambique import config
from alambique.errors import ConfigurationError
from alambique.tasks.base import Ability
from alambique.tasks.primitives import Primitives
from alambique.tasks.reporting import Reporting

TASKS = tuple(config.TASKS)


class Task(Primitives, Reporting, Protocol):
    """All that a task consists of."""


def load(name: str) -> Task:
    """The task named in params.yaml, imported when it is needed."""
    match name:
        case "detect" | "segment" | "pose" | "obb":
            from alambique.tasks.yolo import task

            return task.TASKS[name]
        case "classify":
            from alambique.tasks.images.task import CLASSIFY

            return CLASSIFY
        case "text":
            from alambique.tasks.transformers.causal import TEXT

            return TEXT
        case "text_classify":
            from alambique.tasks.transformers.classifier import TEXT_CLASSIFY

            return TEXT_CLASSIFY
    raise ValueError(name)


def require(name: str, ability: Ability) -> None:
    """Raise a ConfigurationError for what a task cannot do."""
    if ability not in load(name).abilities:
        able = [task for task in TASKS if ability in load(task).abilities]
        raise ConfigurationError(f"task: {name} has no `{ability}` yet; {', '.join(able)} have")
