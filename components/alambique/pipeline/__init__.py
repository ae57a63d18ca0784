"""dvc.yaml as a graph: expansion, stage keys, workspaces, locks, transfer. No ML library, no Airflow."""
