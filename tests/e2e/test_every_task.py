"""The smallest projects of two more tasks by the real DAGs, to a champion that MLflow loads.

This is what only a whole run can show; every stage of every task is tested in unit/tasks/test_contract.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml
from factories import small_projects

from alambique import config, tasks
from alambique.demo.run import run_dag
from alambique.files import read_json
from alambique.layout import CARD, Candidate, evaluation_metrics
from alambique.pipeline import transfer
from alambique.registry.ledger import Ledger
from alambique.runs.cli_actions import fetch
from alambique.runs.new_project import init

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

OTHERS = ("classify", "text")
"""One for each folder of tasks; detection has tests of its own, test_main_job.py. A run takes four CPU minutes."""


@pytest.fixture(scope="module", params=OTHERS)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first run is recorded and promoted."""
    mine, folder = small_projects.TASKS[request.param](), tmp_path_factory.mktemp(request.param)
    mine.write(folder / "source")
    headline = config.TASKS[request.param].HEADLINE
    # Students of a few steps are equally bad: what is tested is that they are judged.
    changes: dict[str, Any] = {
        **mine.params,
        "project": "tiny",
        "promotion": {"objective": "size"},
        "gates": [{"kind": "at_least", "metric": headline, "value": 0.0}],
    }
    (folder / "changes.yaml").write_text(yaml.safe_dump(changes))
    init(
        folder / "tiny",
        str(folder / "source"),
        request.param,
        overrides=folder / "changes.yaml",
        origin=None,
        remote=None,
    )
    run_dag(folder / "tiny", "distill")
    fetch(folder / "tiny")
    run_dag(folder / "tiny", "promote")
    return folder / "tiny"


def test_a_candidate_becomes_champion_and_mlflow_loads_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = config.load(project)
    decisions = read_json(project / "decisions.json")
    promoted = {challenger["model"] for challenger in decisions["challengers"]}
    assert promoted == {f"tiny-{runtime}" for runtime in params.runtimes}
    name = f"tiny-{params.runtimes[0]}"
    state = Ledger(str(project / ".alambique/origin.git"), name).read()
    assert state is not None
    assert state.champion.tag == f"runs/{decisions['run_id']}"
    uri = f"sqlite:///{project}/.alambique/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # MLflow sets it, too, and it would stay for the next project
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    folder = Candidate.parse(state.champion.candidate).folder
    transfer.pull(project, [str(folder)])
    card = read_json(project / folder / CARD)
    takes, gives = tasks.load(params.task).tensors(card)
    inputs = [np.ones([1 if size == -1 else size for size in shape], kind) for kind, shape in takes]
    answer = model.predict(inputs[0] if len(inputs) == 1 else {f"input{i}": each for i, each in enumerate(inputs)})
    assert answer.ndim == len(gives[0][1])


def test_a_second_run_measures_the_champion_and_trains_nothing(project: Path) -> None:
    run_dag(project, "distill")
    fetch(project)
    params = config.load(project)
    files = [evaluation_metrics(f"champion-{runtime}") for runtime in params.runtimes]
    transfer.pull(project, [str(file) for file in files])
    evaluations = [read_json(project / file) for file in files]
    assert all(each["present"] for each in evaluations)
    assert all(0 <= each[params.HEADLINE] <= 1 for each in evaluations)
