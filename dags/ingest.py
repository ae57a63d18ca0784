"""What arrives where alambique.yaml says, `arrivals`, joins the dataset, which may start the distill DAG."""

from pathlib import Path

from alambique.airflow import IngestDag

ingest = IngestDag(Path(__file__).resolve().parents[1])
