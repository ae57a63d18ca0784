"""A candidate's card: what whoever deploys the artifact, and whoever judges it, has to know."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alambique.evaluation.measures import Metrics
from alambique.files import sha256, write_json
from alambique.layout import CARD, Candidate, artifact_digest, checkpoint
from alambique.tasks.cards import read_card
from alambique.tasks.text import folders
from alambique.tasks.text import tokenizer as tokenizers

EXAMPLE = "example.py"
"""Classifies a text with nothing but the artifact's runtime, NumPy and tokenizers."""
EXAMPLES = Path(__file__).parent / "examples"
PRODUCERS = {
    "onnx": ("onnx", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "torchscript": ("ultralytics",),
}
QUANTIZERS = {"onnx": ("onnxruntime",), "openvino": ("nncf",)}
ARITHMETIC = {"fp32": "float32", "int8": "int8"}


def write_candidate_card(project: Path, candidate: Candidate, target: Path, file: str, **details: Any) -> Metrics:
    """Lay the tokenizer and an example beside the artifact in `target`, and describe all of it in card.json.

    Args:
        project: the project's root, with the pruned checkpoint that the artifact was made of.
        candidate: what it is.
        target: holds the artifact's files and nothing else.
        file: the one a runtime opens.
        details: more that belongs on the card and among the metrics.
    Returns:
        the stage's metrics: what the card says in plain numbers.
    """
    folder = project / checkpoint(candidate.student, "pruned")
    source, tokenizer = read_card(folder), tokenizers.load(folder / folders.MODEL)
    # So that whoever encodes with this file alone cuts off what is too long.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.enable_truncation(source["max_tokens"])
    tokenizers.save(tokenizer, target)
    size = sum(path.stat().st_size for path in target.iterdir())
    metrics = {"parameters": source["parameters"], "macs": source["macs"], "size_bytes": size, **details}
    shutil.copyfile(EXAMPLES / f"{candidate.runtime}.py", target / EXAMPLE)
    card = {
        "task": "text_classify",
        "candidate": candidate.name,
        **candidate._asdict(),
        "arithmetic": ARITHMETIC[candidate.precision],
        "file": file,
        "files": {path.name: sha256(path) for path in sorted(target.iterdir())},
        "digest": artifact_digest(target),
        "classes": source["classes"],
        "max_tokens": source["max_tokens"],
        "vocabulary": source["vocabulary"],
        "input": {"name": "ids", "type": "int64", "shape": [1, -1], "about": "tokens of one text"},
        "output": {"name": "logits", "type": "float32", "shape": [1, len(source["classes"])]},
        "preprocessing": {"tokenizer": "tokenizer.json", "longer": f"cut off after {source['max_tokens']} tokens"},
        "checkpoint_sha256": source["sha256"],
        "producers": producers(candidate),
        **metrics,
    }
    write_json(target / CARD, card)
    return metrics


def producers(candidate: Candidate) -> dict[str, str]:
    """The packages that had a part in the candidate's files, with their versions."""
    packages = ["alambique", "torch", "transformers", *PRODUCERS[candidate.runtime]]
    if candidate.precision == "int8":
        packages += QUANTIZERS[candidate.runtime]
    return {package: version(package) for package in packages}
