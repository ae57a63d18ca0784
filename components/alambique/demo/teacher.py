"""The teacher of the detection demo, as most people have one: trained elsewhere, on more labels than they have.

python -m alambique.demo.teacher TARGET
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from alambique import config, tasks
from alambique.config import read_yaml
from alambique.demo.digits import Scenes
from alambique.layout import WEIGHTS
from alambique.process.environment import configure_logging, errors_exit, prepare
from alambique.runs.new_project import write_params
from alambique.tasks.trainer_state import NO_PRIOR

SCENES = Scenes(train=800, val=40, test=40, seed=1)
"""Other scenes than the project's; the digits in its unlabelled and test scenes are not among them."""


def train(target: Path) -> None:
    """Train a YOLO26n on the labelled `SCENES` with the demo's settings; write the checkpoint to `target`."""
    task = tasks.load("detect")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        SCENES.write(folder / "source")
        settings = read_yaml(Path(__file__).with_name("detect.yaml"))
        write_params(folder / "params.yaml", {"project": "demo", "task": "detect", **settings})
        params = config.load(folder)
        task.import_dataset(str(folder / "source"), folder / "data", params)
        dataset = task.dataset(folder / "data")
        asked: Any = params.teacher[params.teachers[0]]
        network = task.build(asked.network, dataset, params, seed=params.seed, weights=None)
        objective = task.label_objective(network, dataset, params)
        task.train(network, objective, dataset, params, folder, steps=asked.steps, seed=params.seed, prior=NO_PRIOR)
        shutil.copyfile(folder / WEIGHTS, target)


if __name__ == "__main__":
    prepare()
    configure_logging()
    with errors_exit():
        train(Path(sys.argv[1]))
