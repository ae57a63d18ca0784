"""`python -m alambique`: how Airflow's side and dvc.yaml call the ML side."""

from alambique.cli import app

app()
