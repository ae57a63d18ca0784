"""A project as its DAG files see it, read at parse time from three small files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from alambique import config
from alambique.airflow.triggers.arrivals import ArrivalsTrigger
from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.config.resources import DEFAULT, Resources, require_kinds, resources_of
from alambique.pipeline import graph as pipeline
from alambique.pipeline.graph import Graph


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
        project = cls(config.load(root), Deployment.load(root), pipeline.read(root))
        require_kinds(project.deployment.resources, project.graph.stages)
        return project

    @property
    def name(self) -> str:
        return self.params.project

    def resources(self, stage: str = DEFAULT) -> Resources:
        """What alambique.yaml gives a stage, or tasks that are no stages."""
        return resources_of(self.deployment.resources, stage)

    def arrivals(self, interval: float) -> Asset:
        """What lies at the deployment's `arrivals`, watched by Airflow's triggerer every `interval` seconds."""
        trigger = ArrivalsTrigger(self.deployment.model_dump(mode="json"), interval)
        return self._asset("arrivals", watchers=[AssetWatcher(name=f"{self.name}_arrivals", trigger=trigger)])

    @property
    def data(self) -> Asset:
        """Has an event when samples joined the dataset; its `extra` holds the branch's revision and the batch."""
        return self._asset("data")

    @property
    def drift(self) -> Asset:
        """Has an event when a drifted batch joined the dataset; `extra` holds revision, report and signals."""
        return self._asset("drift")

    @property
    def challenger(self) -> Asset:
        """Has an event by a run of which a candidate passed every gate; the event's `extra` holds the run's tag."""
        return self._asset("challenger")

    @property
    def models(self) -> list[str]:
        """The project's registered models."""
        return [f"{self.name}-{runtime}" for runtime in self.params.runtimes]

    def _asset(self, what: str, **arguments: Any) -> Asset:
        return Asset(name=f"{self.name}_{what}", uri=f"alambique://{self.name}/{what}", **arguments)
