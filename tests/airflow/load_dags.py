"""Parses a project's DAGs, in whatever environment runs it, and prints what came of it as JSON."""

from __future__ import annotations

import importlib.util
import json
import sys

from airflow import plugins_manager, providers_manager
from airflow.dag_processing.dagbag import DagBag

ML = ("torch", "ultralytics", "mlflow", "dvc", "great_expectations", "pandas", "numpy", "pyarrow", "boto3", "onnx")

bag = DagBag(sys.argv[1])
dags = {
    name: {
        task.task_id: {"stage": getattr(task, "stage", None), "downstream": sorted(task.downstream_task_ids)}
        for task in dag.tasks
    }
    for name, dag in bag.dags.items()
}
found = {
    "errors": bag.import_errors | plugins_manager.get_import_errors(),
    "dags": dags,
    "pages": [app["name"] for app in plugins_manager.get_fastapi_plugins()[0]],
    "provider": "alambique" in providers_manager.ProvidersManager().providers,
    "installed": [name for name in ML if importlib.util.find_spec(name)],
    "imported": [name for name in ML if name in sys.modules],
}
sys.stdout.write(json.dumps(found))
