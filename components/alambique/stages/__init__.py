"""One file per stage of dvc.yaml. A stage reads files, writes files, and knows nothing of DVC, MLflow or Airflow."""
