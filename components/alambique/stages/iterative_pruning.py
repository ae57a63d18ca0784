"""Pruning in rounds: some channels go, the network recovers by distillation, and more channels go.

A stage that was killed goes on in the round where it was: every state of a training carries what its round began with
(the plans, the narrowed weights, the sensitivity, and the curves of the rounds before).
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alambique.config import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.layout import CURVES
from alambique.process.resume_dir import state_file
from alambique.stages.distill import distillation_objective
from alambique.stages.work import teacher_sha256s
from alambique.tasks import Task, curves, trainer_state
from alambique.tasks.base import Network
from alambique.tasks.trainer_state import PriorTraining, State

logger = logging.getLogger(__name__)


class Round(NamedTuple):
    """What a round begins with.

    Attributes:
        number: from 1.
        plans: what each round narrows to.
        network: narrowed to this round's plan already, and not recovered.
        sensitivity: that the plans were made by, if they were.
        curves: epochs of the rounds before.
    """

    number: int
    plans: list[Any]
    network: Network
    sensitivity: dict[str, Any] | None
    curves: list[curves.Row]


def ratios(ratio: float, rounds: int) -> list[float]:
    """The fraction of the full network's target that is gone after each round; each keeps (1 − ratio)^(1/rounds)."""
    return [float(1 - (1 - ratio) ** (number / rounds)) for number in range(1, rounds)] + [ratio]


def prune_and_recover(
    full: Network, project: Path, task: Task, params: Params, dataset: Any, target: Path
) -> tuple[Metrics, dict[str, Any] | None]:
    """Narrow `full` by `params.prune.ratio` in `params.prune_rounds`; write weights and curves.csv into `target`.

    Returns:
        what the last recovery reports, with all rounds' epochs and steps; the sensitivity, if plans depend on it.
    Raises:
        ConfigurationError: the network's shape allows no such ratio.
        IntegrityError: the soft labels are damaged, or training brought back what was removed.
    """
    stage = _identity(full, project, task, params, dataset)
    current = _resumed(full, stage, task, params, dataset) or _first(full, task, params, dataset)
    while True:
        expected, before = (_parameters(task, network) for network in (current.network, full))
        logger.info(
            "round %d of %d: %s parameters are left of %s, before recovery",
            *(current.number, params.prune_rounds, f"{expected:,}", f"{before:,}"),
        )
        prior = PriorTraining(stage, current.curves, _state(task, current))
        metrics = recover(current.network, project, task, params, dataset, target, params.prune.epochs, prior)
        recovered = task.load(target)
        if (parameters := _parameters(task, recovered)) != expected:
            raise IntegrityError(
                f"the pruned network had {expected:,} parameters before recovery and has {parameters:,} after it; "
                "training must keep the network it is given: report this as a bug"
            )
        if current.number == len(current.plans):
            return metrics, current.sensitivity
        narrowed = task.prune(recovered, full, current.plans[current.number], dataset, params)
        current = current._replace(number=current.number + 1, network=narrowed, curves=curves.read(target / CURVES))


def recover(
    network: Network,
    project: Path,
    task: Task,
    params: Params,
    dataset: Any,
    target: Path,
    epochs: int,
    prior: PriorTraining,
) -> Metrics:
    """Train a pruned network as students are distilled; write weights and curves.csv into `target`."""
    objective = distillation_objective(task, network, dataset, params, project)
    return task.train(network, objective, dataset, params, target, epochs=epochs, seed=params.seed, prior=prior)


def _first(full: Network, task: Task, params: Params, dataset: Any) -> Round:
    plans, sensitivity = task.pruning_plans(full, dataset, params, ratios(params.prune.ratio, params.prune_rounds))
    return Round(1, plans, task.prune(full, full, plans[0], dataset, params), sensitivity, [])


def _identity(full: Network, project: Path, task: Task, params: Params, dataset: Any) -> str:
    """SHA-256 over all that the rounds depend on."""
    known = (torch.__version__, params.model_dump_json(), teacher_sha256s(project, params))
    splits = [dataset.digest(split) for split in ("train", "val", "unlabelled") if dataset.has(split)]
    digest = hashlib.sha256(repr((known, splits)).encode())
    for name, tensor in task.module(full).state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _state(task: Task, current: Round) -> State:
    return {
        "number": current.number,
        "plans": current.plans,
        # Training changes the network in place.
        "network": {name: tensor.clone() for name, tensor in task.module(current.network).state_dict().items()},
        "sensitivity": current.sensitivity,
    }


def _resumed(full: Network, stage: str, task: Task, params: Params, dataset: Any) -> Round | None:
    """The round in which an earlier try was killed."""
    file = state_file()
    prior = trainer_state.read_prior(file, stage) if file else None
    if prior is None:
        return None
    state = prior.initial_state
    network = task.prune(full, full, state["plans"][state["number"] - 1], dataset, params)
    task.module(network).load_state_dict(state["network"])
    return Round(state["number"], state["plans"], network, state["sensitivity"], prior.curves)


def _parameters(task: Task, network: Network) -> int:
    return sum(parameter.numel() for parameter in task.module(network).parameters())
