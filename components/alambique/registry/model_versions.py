"""The verb `register`: one registered model for each runtime, one version for each artifact of a run.

A version holds the candidate's own files, loads as a pyfunc, and names in its tags where it came from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alambique import config, tasks
from alambique.errors import IntegrityError
from alambique.evaluation import leaderboard
from alambique.evaluation.leaderboard import Leaderboard
from alambique.files import read_json, reading, sha256
from alambique.layout import CANDIDATES, CARD, REPORT, Candidate, artifact_digest
from alambique.messages import Registered, RunRequest, Version
from alambique.registry.client import connect, global_uri, reachable
from alambique.registry.run_artifacts import LEADERBOARD, checked_out, outs, producer
from alambique.registry.tracking import log_reused, start_run
from alambique.tasks.base import TensorTypes

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOADER = "alambique.registry.pyfunc"
ENGINES = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "torchscript": ("torch",),
    "ncnn": ("ncnn",),
    "executorch": ("executorch", "torch"),
    "engine": ("tensorrt", "torch"),
    "coreml": ("coremltools",),
}
"""The packages that run each runtime's artifacts."""

DIGEST = "alambique.digest"
CANDIDATE = "alambique.candidate"
MEASURED = ("latency_p50_ms", "size_mb")
"""Columns of the leaderboard that a version shows as tags, beside the headline."""


def register(request: RunRequest) -> Registered:
    """Register all candidates of a run; an artifact that is registered already keeps its version.

    Without MLflow a version is named by its digest, which is all that the gate and the ledger need.

    Raises:
        IntegrityError: a candidate's files are not what its card says.
        TransientError: MLflow, the origin or the DVC remote is out of reach.
    """
    uri, run = request.deployment.tracking_uri, request.run
    folders = [Path(out) for out in outs(request) if Path(out).parent == CANDIDATES]
    with checked_out(request, [*folders, REPORT]) as project:
        name = config.load(project).project
        cards = {folder: verified_card(project / folder) for folder in folders}
        versions = [
            _version(name, card, card["digest"][:12], sha256(project / folder / CARD)) for folder, card in cards.items()
        ]
        if uri is None:
            return Registered(versions=versions)
        client, parent = connect(uri), run.tracking_run or start_run(uri, name, run.run_id, {})
        board = leaderboard.load(project / LEADERBOARD)
        with reachable(uri):
            versions = [
                _registered(client, str(parent), project / folder, version, card, _tags(request, folder, card, board))
                for (folder, card), version in zip(cards.items(), versions, strict=True)
            ]
    log_reused(uri, parent, request.stages)
    return Registered(versions=versions)


def verified_card(folder: Path) -> dict[str, Any]:
    """A candidate's card, or an IntegrityError if its files differ from the card's digest."""
    card: dict[str, Any] = read_json(folder / CARD)
    with reading(folder / CARD):
        for name in ("candidate", "digest", "runtime", "task"):
            if not isinstance(card[name], str):
                raise TypeError(f"its {name} is {card[name]!r}")
    actual = artifact_digest(folder)
    if actual != card["digest"]:
        raise IntegrityError(
            f"{folder.name} has the digest {actual[:12]}, but its card says {card['digest'][:12]}: its files were "
            "changed after they were made; run its export or quantize stage again"
        )
    return card


def _version(project: str, card: Mapping[str, Any], version: str, card_sha256: str) -> Version:
    candidate = Candidate.parse(card["candidate"])
    return Version(
        candidate=candidate.name,
        model=f"{project}-{candidate.runtime}",
        version=version,
        sha256=card["digest"],
        card=card_sha256,
    )


def _tags(request: RunRequest, folder: Path, card: Mapping[str, Any], board: Leaderboard) -> dict[str, str]:
    """Tags of a version: what it was made from, and its figures on the run's test split."""
    candidate = Candidate.parse(card["candidate"])
    rows = {row["subject"]: row for row in board["rows"]}
    known = {
        DIGEST: card["digest"],
        CANDIDATE: candidate.name,
        "alambique.student": candidate.student,
        "alambique.precision": candidate.precision,
        "alambique.run": request.run.run_id,
        "alambique.key": producer(request, folder).key,
        "alambique.data": request.run.sources.get("data", {}).get("md5"),
        "alambique.teacher": " ".join(str(row["digest"]) for row in rows.values() if row["kind"] == "teacher") or None,
    }
    if row := rows.get(candidate.name):
        figures: Mapping[str, Any] = {**row, **row["metrics"]}
        known |= {f"alambique.{name}": figures[name] for name in (board["headline"], *MEASURED)}
    return {name: str(value) for name, value in known.items() if value is not None}


def _registered(
    client: MlflowClient, parent: str, folder: Path, version: Version, card: Mapping[str, Any], tags: dict[str, str]
) -> Version:
    """The version of this candidate with this digest, registered already or created now."""
    query = f"name = '{version.model}' AND tags.`{DIGEST}` = '{version.sha256}'"
    known = [entry for entry in client.search_model_versions(query) if entry.tags.get(CANDIDATE) == version.candidate]
    if not known:
        if not client.search_registered_models(f"name = '{version.model}'"):
            client.create_registered_model(version.model)
        model_id = _log_model(client, parent, folder, version.candidate, card)
        with global_uri(client.tracking_uri):
            source = f"models:/{model_id}"
            known = [client.create_model_version(version.model, source, parent, tags=tags, model_id=model_id)]
    return version.model_copy(update={"version": str(min(int(entry.version) for entry in known))})


def _log_model(client: MlflowClient, parent: str, folder: Path, name: str, card: Mapping[str, Any]) -> str:
    """Upload the candidate's folder, byte for byte, as an MLflow model with a signature; returns the model's id."""
    import mlflow.pyfunc
    from mlflow.models import Model

    packages = ("alambique", *ENGINES[card["runtime"]])
    experiment = client.get_run(parent).info.experiment_id
    model = client.create_logged_model(experiment, name, parent, model_type=card["runtime"])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model"
        mlflow.pyfunc.save_model(
            str(path),
            loader_module=LOADER,
            data_path=str(folder),
            mlflow_model=Model(signature=_signature(card), model_id=model.model_id),
            pip_requirements=[f"{package}=={installed(package)}" for package in packages],
        )
        client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _signature(card: Mapping[str, Any]) -> Any:
    """MLflow signature of the loader's inputs and output, the same on every runtime."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(tensors: TensorTypes) -> Any:
        # A lone tensor has no name, so that MLflow passes an array on as it is and not inside a dictionary.
        names = [None] if len(tensors) == 1 else [f"input{index}" for index in range(len(tensors))]
        specs = zip(tensors, names, strict=True)
        return Schema([TensorSpec(np.dtype(kind), tuple(shape), name) for (kind, shape), name in specs])

    inputs, output = tasks.load(card["task"]).tensors(card)
    return ModelSignature(schema(inputs), schema(output))
