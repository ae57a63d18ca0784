"""A candidate's card: what whoever deploys the artifact, and whoever judges it, has to know."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alambique.evaluation.measures import Metrics
from alambique.files import read_json, sha256, write_json
from alambique.layout import CARD, Candidate, artifact_digest, checkpoint
from alambique.tasks.classify.preprocess import DESCRIPTION

EXAMPLE = "example.py"
"""Classifies one image with nothing but the artifact's runtime, NumPy and Pillow."""
EXAMPLES = Path(__file__).parent / "examples"
FROM_GRAPH = ("onnx", "onnxscript", "onnxslim")
"""What makes the ONNX graph that two runtimes start from."""
PRODUCERS = {
    "onnx": FROM_GRAPH,
    "openvino": (*FROM_GRAPH, "openvino"),
    "torchscript": (),
    "ncnn": ("ncnn", "pnnx"),
    "executorch": ("executorch",),
}
"""The packages with a part in each runtime's files, besides those that every network is built from."""
QUANTIZERS = {"onnx": ("onnxruntime",), "openvino": ("nncf",)}
"""Those with a part in its INT8."""
LIBRARIES = {"yolo26-cls": "ultralytics", "torchvision": "torchvision", "timm": "timm"}
"""What each family of networks is built from."""
BATCHED = {"onnx", "openvino", "torchscript", "executorch"}
"""The runtimes whose tensors have the batch as their first dimension; ncnn's have none."""


def write_candidate_card(project: Path, candidate: Candidate, target: Path, file: str, **details: Any) -> Metrics:
    """Lay an example of its use beside the artifact in `target`, and describe all of it in card.json.

    Args:
        project: the project's root, with the pruned checkpoint that the artifact was made of.
        candidate: what it is.
        target: holds the artifact's files and nothing else.
        file: the one a runtime opens.
        details: more that belongs on the card and among the metrics.
    Returns:
        the stage's metrics: what the card says in plain numbers.
    """
    source = read_json(project / checkpoint(candidate.student, "pruned") / CARD)
    metrics = {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum(path.stat().st_size for path in target.iterdir()),
        **details,
    }
    shutil.copyfile(EXAMPLES / f"{candidate.runtime}.py", target / EXAMPLE)
    size, classes = source["image_size"], source["classes"]
    batch = [1] if candidate.runtime in BATCHED else []
    names = ("images", "logits") if batch else ("in0", "out0")
    card = {
        "task": "classify",
        "candidate": candidate.name,
        **candidate._asdict(),
        "arithmetic": "int8" if candidate.precision == "int8" else "float32",
        "file": file,
        "files": {path.name: sha256(path) for path in sorted(target.iterdir())},
        "digest": artifact_digest(target),
        "classes": classes,
        "image_size": size,
        "input": {"name": names[0], "shape": [*batch, 3, size, size], "dtype": "float32"},
        "output": {
            "name": names[1],
            "shape": [*batch, len(classes)],
            "dtype": "float32",
            "about": "logits in the order of `classes`; their softmax are the probabilities",
        },
        "preprocessing": DESCRIPTION,
        "checkpoint_sha256": source["sha256"],
        "producers": producers(candidate, source["network"]["family"]),
        **metrics,
    }
    write_json(target / CARD, card)
    return metrics


def producers(candidate: Candidate, family: str) -> dict[str, str]:
    """The packages that had a part in the candidate's files, with their versions."""
    packages = ["alambique", "torch", LIBRARIES[family], *PRODUCERS[candidate.runtime]]
    if candidate.precision == "int8":
        packages += QUANTIZERS[candidate.runtime]
    return {package: version(package) for package in packages}
