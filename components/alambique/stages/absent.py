"""The evaluation of a champion that does not exist: an empty folder and `present: false`, without any runtime."""

from __future__ import annotations

import shlex
from pathlib import Path

from alambique.files import fresh_folder, write_json
from alambique.layout import CARD, EvaluationTarget, evaluation, evaluation_metrics
from alambique.pipeline.graph import Stage


def write_absent(stage: Stage, project: Path) -> bool:
    """Write the outs of `stage` if it evaluates a champion that does not exist; False if it has to run.

    Reads   inputs/champions/
    Writes  evaluations/<champion>/, metrics/evaluate/<champion>.json
    """
    match shlex.split(stage.cmd) if isinstance(stage.cmd, str) else ():
        case ["python", "-m", "alambique.stage", "evaluate", name] if name.startswith("champion-"):
            champion = EvaluationTarget.parse(name)
        case _:
            return False
    if (project / champion.folder / CARD).exists():
        return False
    with fresh_folder(project / evaluation(name)):
        pass
    write_json(project / evaluation_metrics(name), {"subject": name, "present": False})
    return True
