"""Parses a project's DAGs, in whatever environment runs it, and prints what came of it as JSON."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

from airflow import plugins_manager, providers_manager
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

ML = ("torch", "ultralytics", "mlflow", "dvc", "great_expectations", "pandas", "numpy", "pyarrow", "boto3", "onnx")


def shape(dag: Any) -> dict[str, Any]:
    """A DAG as Airflow's scheduler gets to know it."""
    seen = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assets = [asset for _, asset in seen.timetable.asset_condition.iter_assets()]
    return {
        "tasks": {
            task.task_id: {
                "stage": getattr(task, "inputs", {}).get("stage"),
                "downstream": sorted(task.downstream_task_ids),
                "teardown": task.is_teardown,
            }
            for task in dag.tasks
        },
        "assets": sorted(asset.name for asset in assets),
        "watched": [watcher.trigger for asset in assets for watcher in asset.watchers],
        "schedule": type(seen.timetable).__name__,
        "description": seen.description,
        "runs": seen.max_active_runs,
        "params": seen.params.dump(),
        "forms": {name: dag.params.get_param(name).schema for name in dag.params},
    }


bag = DagBag(sys.argv[1])
found = {
    "errors": bag.import_errors | plugins_manager.get_import_errors(),
    "dags": {name: shape(dag) for name, dag in bag.dags.items()},
    "pages": [app["name"] for app in plugins_manager.get_fastapi_plugins()[0]],
    "provider": "alambique" in providers_manager.ProvidersManager().providers,
    "installed": [name for name in ML if importlib.util.find_spec(name)],
    "imported": [name for name in ML if name in sys.modules],
}
sys.stdout.write(json.dumps(found))
