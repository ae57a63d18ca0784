"""Every hour: have the images at `production` of alambique.yaml drifted? If so, they join the dataset, unlabelled."""

from pathlib import Path

from alambique.airflow import WatchDriftDag

watch_drift = WatchDriftDag(Path(__file__).resolve().parents[1], schedule="@hourly")
