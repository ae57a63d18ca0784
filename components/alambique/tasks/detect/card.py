"""A candidate's card: what whoever deploys the artifact, and whoever judges it, has to know."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from alambique.evaluation.measures import Metrics
from alambique.files import read_json, sha256, write_json
from alambique.layout import CARD, Candidate, artifact_digest, checkpoint
from alambique.tasks.detect.preprocess import DESCRIPTION
from alambique.tasks.detect.signature import BOXES, Signature, of_graph

EXAMPLE = "example.py"
"""Finds objects in one image with nothing but the artifact's runtime, NumPy and Pillow."""
EXAMPLES = Path(__file__).parent / "examples"

FROM_GRAPH = ("onnx", "onnxslim")
"""What makes the ONNX graph that several runtimes start from."""
PRODUCERS = {
    "onnx": FROM_GRAPH,
    "openvino": (*FROM_GRAPH, "openvino"),
    "torchscript": (),
    "ncnn": ("ncnn", "pnnx"),
    "executorch": ("executorch",),
    "engine": (*FROM_GRAPH, "nvidia-modelopt", "tensorrt"),
    "coreml": ("coremltools",),
}
"""The packages with a part in each runtime's files, besides alambique, torch and ultralytics."""
QUANTIZERS = {"onnx": ("onnxruntime",), "openvino": ("nncf",), "engine": ()}
"""Those with a part in its INT8."""
ARITHMETIC = {"engine": "float16"}
"""What a runtime computes in where the candidate is named fp32, if it is not float32."""


def write_candidate_card(
    project: Path,
    candidate: Candidate,
    target: Path,
    file: str,
    made: onnx.ModelProto | Signature,
    answer: Mapping[str, Any] = BOXES,
    examples: Path = EXAMPLES,
    task: str = "detect",
    **details: Any,
) -> Metrics:
    """Lay an example of its use beside the artifact in `target`, and describe all of it in card.json.

    Args:
        project: the project's root, with the pruned checkpoint that the artifact was made of.
        candidate: what it is.
        target: holds the artifact's files and nothing else.
        file: the one a runtime opens, or the folder, if it opens one.
        made: the graph whose input and output are the artifact's, or these themselves.
        answer: what its output means.
        examples: folder of a script for each runtime that uses it.
        task: what it is for.
        details: more that belongs on the card and among the metrics.
    Returns:
        the stage's metrics: what the card says in plain numbers.
    """
    source = read_json(project / checkpoint(candidate.student, "pruned") / CARD)
    signature = made if isinstance(made, Signature) else of_graph(made)
    metrics = {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
        **details,
    }
    shutil.copyfile(examples / f"{candidate.runtime}.py", target / EXAMPLE)
    card = {
        "task": task,
        "candidate": candidate.name,
        **candidate._asdict(),
        "arithmetic": _arithmetic(candidate),
        "file": file,
        "files": {
            path.relative_to(target).as_posix(): sha256(path) for path in sorted(target.rglob("*")) if path.is_file()
        },
        "digest": artifact_digest(target),
        "classes": source["classes"],
        "image_size": source["image_size"],
        "input": signature.input,
        "output": {**answer, **signature.output},
        "preprocessing": DESCRIPTION,
        "checkpoint_sha256": source["sha256"],
        "producers": producers(candidate),
        **metrics,
    }
    write_json(target / CARD, card)
    return metrics


def producers(candidate: Candidate) -> dict[str, str]:
    """The packages that had a part in the candidate's files, with their versions."""
    packages = ["alambique", "torch", "ultralytics", *PRODUCERS[candidate.runtime]]
    if candidate.precision == "int8":
        packages += QUANTIZERS[candidate.runtime]
    return {package: version(package) for package in packages}


def _arithmetic(candidate: Candidate) -> str:
    return "int8" if candidate.precision == "int8" else ARITHMETIC.get(candidate.runtime, "float32")
