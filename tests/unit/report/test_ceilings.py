from __future__ import annotations

import io
from pathlib import Path

import yaml
from factories import checkpoints, measured_run
from rich.console import Console

from alambique import config
from alambique.files import write_json
from alambique.report.terminal import print_leaderboard
from alambique.stages import compare


def test_trainings_that_were_still_improving_are_named_with_what_to_raise(tmp_path: Path, scenes: Path) -> None:
    root = checkpoints.project(tmp_path / "project", scenes)
    content = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(content | {"ablations": ["labelled"]}))
    measured_run.write(root)
    improving = {"teacher/main": True, "distill/pico-0": False, "control/pico-0": True, "prune/pico": None}
    improving |= {"ablation/pico-labelled-0": True}
    for name, value in improving.items():
        write_json(root / f"metrics/{name}.json", {} if value is None else {"still_improving": value})
    params = config.load(root)
    board = compare.compare(root, params)
    assert board["still_improving"] == {
        "teacher.main.steps": {"steps": params.teacher["main"].steps, "trainings": ["teacher main"]},
        "distill.steps": {"steps": params.distill.steps, "trainings": ["control pico-0", "ablation pico-labelled-0"]},
    }
    stream = io.StringIO()
    print_leaderboard(board, Console(file=stream, width=200))
    sentence = f"the last of {params.distill.steps:,} steps: control pico-0, ablation pico-labelled-0; raise distill"
    assert sentence in " ".join(stream.getvalue().split())
    compare.run(root)
    assert sentence in (root / "report/report.html").read_text()
