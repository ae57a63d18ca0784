"""Every week: snapshot → the stages of dvc.yaml → register → gate → record, which may announce a challenger."""

from pathlib import Path

from alambique.airflow import DistillDag

distill = DistillDag(Path(__file__).resolve().parents[1], schedule="@weekly")
