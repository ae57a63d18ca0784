"""A challenger becomes champion; and, by hand, the previous champion comes back."""

from pathlib import Path

from alambique.airflow import PromoteDag, RollbackDag

project = Path(__file__).resolve().parents[1]

promote = PromoteDag(project)
rollback = RollbackDag(project)
