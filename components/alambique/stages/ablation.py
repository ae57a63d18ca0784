"""Train a student between its control and the distilled one, to split what distillation was worth.

start      from the distilled student's initial weights, on labels alone
labelled   from the same, by `distill.method` on the labelled samples alone

Both take as many steps as `distill` does. So distilled − control is the sum of start − control, the start; labelled −
start, the soft labels of labelled samples; and distilled − labelled, the unlabelled samples.

Reads   data/, soft_labels/ (labelled), models/teacher/, inputs/students/
Writes  models/<ablation>/<seed>/<student>/{weights.pt, card.json, curves.csv},
        metrics/ablation/<student>-<ablation>-<seed>.json
"""

from __future__ import annotations

from pathlib import Path

from alambique.layout import Ablation
from alambique.stages.distill import train_student


def run(project: Path, student: str, ablation: Ablation, seed: str) -> None:
    """Train `student`; see the module's docstring."""
    train_student(project, student, int(seed), ablation, f"ablation/{student}-{ablation}-{seed}")
