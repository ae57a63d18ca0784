"""Runs DAGs of a project with `dag.test()`, one after the other, and prints what came of each as JSON.

python run_dags.py DAGS_FOLDER '[[DAG_ID, CONF], …]'
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

folder, runs = sys.argv[1], json.loads(sys.argv[2])


def outcome(dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    run = DagBag(folder).dags[dag_id].test(run_conf=conf)
    with create_session() as session:
        tasks = {task.task_id: {"state": task.state, "tries": task.try_number} for task in run.get_task_instances()}
        events = session.scalars(select(AssetEvent.extra).where(AssetEvent.source_run_id == run.run_id)).all()
    return {"state": run.state, "run_id": run.run_id, "tasks": tasks, "events": events}


initdb()
sys.stdout.write("\n" + json.dumps([outcome(*run) for run in runs]))
