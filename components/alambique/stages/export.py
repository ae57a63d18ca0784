"""Export the pruned student in FP32.

Reads   models/pruned/<student>/
Writes  candidates/<student>-<runtime>-fp32/, metrics/export/<student>-<runtime>-fp32.json
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alambique import runtimes
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.files import sha256, write_json, write_text
from alambique.layout import CARD, Candidate, artifact_digest, checkpoint
from alambique.runtimes.base import TensorSpec
from alambique.stages.work import produce
from alambique.tasks import Task
from alambique.tasks.base import Card
from alambique.tasks.cards import read_card

EXAMPLE = "example.py"
"""Uses the artifact with nothing but its runtime, NumPy and what reads a sample."""


def run(project: Path, student: str, runtime: str) -> None:
    """Make the candidate <student>-<runtime>-fp32.

    Raises:
        ConfigurationError: the runtime's files cannot be made here.
        IntegrityError: the checkpoint is not what its card says.
    """
    candidate = Candidate(student, runtime, "fp32")

    def work(task: Task, params: Params, target: Path) -> Metrics:
        runtimes.require_available([runtime])  # this machine may be another than the one which validated
        return export(project, task, candidate, target)

    produce(project, candidate.folder, f"export/{candidate.name}", work)


def export(project: Path, task: Task, candidate: Candidate, target: Path) -> Metrics:
    """Write files and card into `target`; returns parameters, macs, size_bytes, opset (of ONNX graphs); see `run`."""
    source, runtime = project / checkpoint(candidate.student, "pruned"), runtimes.load(candidate.runtime)
    card, network = read_card(source), task.exportable(source)
    tensors = runtime.write(network, target / runtime.file)
    task.copy_beside(source, target)
    opset = {"opset": network.opset} if runtime.from_graph else {}
    return write_candidate_card(task, candidate, card, target, tensors, **opset)


def write_candidate_card(
    task: Task, candidate: Candidate, source: Card, target: Path, tensors: Sequence[TensorSpec], **details: Any
) -> Metrics:
    """Lay an example of its use beside the artifact in `target`, and describe all of it in card.json.

    Args:
        source: card of the pruned checkpoint that the artifact was made of.
        target: holds the artifact's files and what belongs beside them, and nothing else.
        details: more that belongs on the card and among the metrics.
    Returns:
        the stage's metrics: what the card says in plain numbers.
    """
    runtime = runtimes.load(candidate.runtime)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    metrics = {
        "parameters": source["parameters"],
        "macs": source["macs"],
        "size_bytes": sum(path.stat().st_size for path in files),
        **details,
    }
    card = {
        "task": task.name,
        "candidate": candidate.name,
        **candidate._asdict(),
        "arithmetic": runtime.arithmetic if candidate.precision == "fp32" else f"int{details.get('bits', 8)}",
        "file": runtime.file,
        "classes": source["classes"],
        **task.artifact(source, candidate.runtime, tensors),
        "checkpoint_sha256": source["sha256"],
        "producers": _producers(task, candidate, source),
        **metrics,
    }
    write_text(target / EXAMPLE, task.example(card, candidate.runtime))
    described = [*files, target / EXAMPLE]
    card["files"] = {path.relative_to(target).as_posix(): sha256(path) for path in sorted(described)}
    card["digest"] = artifact_digest(target)
    write_json(target / CARD, card)
    return metrics


def _producers(task: Task, candidate: Candidate, source: Card) -> dict[str, str]:
    """The distributions with a part in the candidate's files, with their versions."""
    runtime = runtimes.load(candidate.runtime)
    packages = ["alambique", "torch", *task.packages(source, candidate.runtime), *runtime.packages]
    if candidate.precision == "int8":
        packages += runtime.int8_packages
    return {package: version(package) for package in packages}
