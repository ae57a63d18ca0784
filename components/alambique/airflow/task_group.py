"""The stages of dvc.yaml as tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.sdk import TaskGroup, XComArg

from alambique.airflow.operators.runs import StageOperator
from alambique.airflow.project import Project


class AlambiqueTaskGroup(TaskGroup):
    """A task for each expanded stage and an edge for each dependency between them.

    Each student's stages are a task group of their own: `distill@pico` is the task `pico.distill`, `quantize@pico-onnx`
    is `pico.quantize-onnx`, and `soft_labels@0` is `soft_labels-0`.

    Attributes:
        results: every stage's output, by the stage's name.
    """

    def __init__(self, project: Project, run: XComArg, group_id: str = "stages", **kwargs: Any) -> None:
        super().__init__(group_id=group_id, **kwargs)
        self.results: dict[str, XComArg] = {}
        with self:
            groups = {student: TaskGroup(student) for student in project.params.students}
            for stage in project.graph.stages:  # producers come first
                student, task_id = place(stage, groups)
                self.results[stage] = StageOperator(
                    task_id=task_id,
                    task_group=groups[student] if student else self,
                    deployment=project.deployment,
                    graph=project.graph,
                    stage=stage,
                    run=run,
                    upstream={producer: self.results[producer] for producer in project.graph.upstream(stage)},
                ).output


def place(stage: str, students: Collection[str]) -> tuple[str | None, str]:
    """The student whose group a stage belongs to, if any, and the task's name: task ids have no @."""
    kind, _, item = stage.partition("@")
    first, _, rest = item.partition("-")
    student, label = (first, rest) if first in students else (None, item)
    return student, f"{kind}-{label}" if label else kind
