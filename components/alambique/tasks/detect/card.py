"""A candidate's card: what whoever deploys the artifact, and whoever judges it, has to know."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from alambique.files import read_json, sha256, write_json
from alambique.layout import CARD, Candidate, artifact_digest, checkpoint
from alambique.tasks import Metrics
from alambique.tasks.detect.preprocess import DESCRIPTION

COLUMNS = {
    "columns": ["x1", "y1", "x2", "y2", "score", "class"],
    "units": "boxes in input pixels, by falling score, one for each object: no suppression needed",
}
PRODUCERS = ("alambique", "nncf", "onnx", "onnxruntime", "onnxslim", "openvino", "torch", "ultralytics")


def write_candidate_card(
    project: Path, candidate: Candidate, target: Path, file: str, graph: onnx.ModelProto, **details: Any
) -> Metrics:
    """Describe the artifact in `target` in card.json.

    Args:
        project: the project's root, with the pruned checkpoint that the artifact was made of.
        candidate: what it is.
        target: holds the artifact's files and nothing else.
        file: the one a runtime opens.
        graph: what the artifact computes; its input and output are those of every runtime.
        details: more that belongs on the card and among the metrics.
    Returns:
        the stage's metrics: what the card says in plain numbers.
    """
    source = read_json(project / checkpoint(candidate.student, "pruned") / CARD)
    files = {path.name: sha256(path) for path in sorted(target.iterdir())}
    metrics = {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum((target / name).stat().st_size for name in files),
        **details,
    }
    card = {
        "candidate": candidate.name,
        **candidate._asdict(),
        "file": file,
        "files": files,
        "digest": artifact_digest(target),
        "classes": source["classes"],
        "image_size": source["image_size"],
        "input": _tensor(graph.graph.input[0]),
        "output": {**_tensor(graph.graph.output[0]), **COLUMNS},
        "preprocessing": DESCRIPTION,
        "checkpoint_sha256": source["sha256"],
        "producers": {package: version(package) for package in PRODUCERS},
        **metrics,
    }
    write_json(target / CARD, card)
    return metrics


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return {"name": value.name, "shape": [size.dim_value for size in kind.shape.dim], "dtype": dtype}
