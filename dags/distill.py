"""Every week, and when data or drift came in: snapshot → the stages of dvc.yaml → register → gate → record."""

from pathlib import Path

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable

from alambique.airflow import DistillDag, Project

root = Path(__file__).resolve().parents[1]
project = Project.load(root)
weekly = CronTriggerTimetable("@weekly", timezone="UTC")

distill = DistillDag(root, schedule=AssetOrTimeSchedule(timetable=weekly, assets=project.data | project.drift))
