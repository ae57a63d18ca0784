"""A project as its DAG files see it, read at parse time from three small files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Asset

from alambique import config, pipeline
from alambique.config import Params
from alambique.deployment import Deployment
from alambique.pipeline import Graph


@dataclass(frozen=True)
class Project:
    """What `params.yaml`, `alambique.yaml` and `pipeline.json` say."""

    params: Params
    deployment: Deployment
    graph: Graph

    @classmethod
    def load(cls, root: Path) -> Project:
        """Read the project at `root`.

        Raises:
            ConfigurationError: a file is missing, or asks for something impossible.
            IntegrityError: pipeline.json was edited by hand.
        """
        return cls(config.load(root), Deployment.load(root), pipeline.read(root))

    @property
    def name(self) -> str:
        return self.params.project

    @property
    def challenger(self) -> Asset:
        """Announced by a run of which a candidate passed every gate; the event's `extra` holds the run's tag."""
        return Asset(name=f"{self.name}_challenger", uri=f"alambique://{self.name}/challenger")

    @property
    def models(self) -> list[str]:
        """The project's registered models."""
        return [f"{self.name}-{runtime}" for runtime in self.params.runtimes]
