"""Export the pruned student in FP32.

Reads   models/pruned/<student>/
Writes  candidates/<student>-<runtime>-fp32/, metrics/export/<student>-<runtime>-fp32.json
"""

from __future__ import annotations

from pathlib import Path

from alambique import runtimes
from alambique.config import Params
from alambique.evaluation.measures import Metrics
from alambique.layout import Candidate, checkpoint
from alambique.stages.candidate_card import write_candidate_card
from alambique.stages.work import produce
from alambique.tasks import Task
from alambique.tasks.cards import read_card


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
    """Write the candidate's files and card into `target`; see `run`.

    Returns:
        parameters, macs, size_bytes; opset where there is an ONNX graph.
    """
    source, runtime = project / checkpoint(candidate.student, "pruned"), runtimes.load(candidate.runtime)
    card, network = read_card(source), task.exportable(source)
    tensors = runtime.write(network, target / runtime.file)
    task.copy_beside(source, target)
    opset = {"opset": network.opset} if runtime.from_graph else {}
    return write_candidate_card(task, candidate, card, target, tensors, **opset)
