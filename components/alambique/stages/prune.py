"""Remove channels, heads or layers of the distilled student and recover by distillation.

Reads   data/, soft_labels/, models/teacher/, models/distilled/<first seed>/<student>/, search/
Writes  models/pruned/<student>/{weights.pt, card.json, curves.csv}, metrics/prune/<student>.json

It goes in rounds: some channels go, the network recovers by distillation, and more channels go. A stage that was killed
goes on in the round where it was: every state of a training carries what its round began with (the plans, the narrowed
weights, the sensitivity, and the curves of the rounds before).
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alambique.config import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import write_json
from alambique.layout import CURVES, DATA, checkpoint
from alambique.process.resume_dir import state_file
from alambique.report import search
from alambique.stages.distill import distillation_objective
from alambique.stages.work import costs, produce, teacher_sha256s, write_checkpoint_card
from alambique.tasks import Task, curves, trainer_state
from alambique.tasks.base import Network
from alambique.tasks.cards import card_files, read_card
from alambique.tasks.trainer_state import PriorTraining, State

SENSITIVITY = "sensitivity.json"
"""The metric lost by narrowing each layer alone; written where the widths depend on it."""

logger = logging.getLogger(__name__)


def run(project: Path, student: str) -> None:
    """Remove the ratio that the search chose of `student`, physically; a ratio of 0 copies the distilled student.

    Raises:
        ConfigurationError: the network's shape allows no such ratio; the message names the nearest one.
        IntegrityError: the distilled checkpoint is not what its card says, the soft labels are damaged, or training
            brought back what was removed.
    """
    ratio = search.read(project)["shares"][student]

    def work(task: Task, params: Params, target: Path) -> Metrics:
        return prune(project, task, with_ratio(params, ratio), student, target)

    produce(project, checkpoint(student, "pruned"), f"prune/{student}", work)


def prune(project: Path, task: Task, params: Params, student: str, target: Path) -> Metrics:
    """Write the pruned checkpoint and its card into `target`; see `run`.

    Returns:
        parameters and macs before and after, what was removed of which target, what recovery reports, and the
        sensitivity by layer where widths depend on it.
    """
    source = project / checkpoint(student, "distilled", params.seeds[0])
    distilled = read_card(source)
    full, dataset = task.load(source), task.dataset(project / DATA)
    metrics: Metrics = {}
    if params.prune.ratio == 0:
        _copy(source, target)
    else:
        metrics, sensitivity = prune_and_recover(full, project, task, params, dataset, target)
        if sensitivity:
            write_json(target / SENSITIVITY, sensitivity)
            metrics["sensitivity"] = losses(sensitivity, params.HEADLINE)
    card = write_checkpoint_card(
        task,
        target,
        params,
        kind="pruned",
        data=dataset.digest("train"),
        student=student,
        teachers=distilled["teachers"],
        source=distilled["sha256"],
    )
    return {
        **metrics,
        **costs(card),
        "parameters_before": distilled["parameters"],
        "macs_before": distilled["macs"],
        **task.removed(full, task.load(target), params),
    }


def losses(sensitivity: dict[str, Any], headline: str) -> dict[str, dict[str, float]]:
    """By layer and removed fraction, the headline metric that is lost; without layers that cannot be narrower."""
    return {
        f"{row['layer']} {row['part']}": {f"{ratio:.3g}": sensitivity[headline] - left for ratio, left in row[headline]}
        for row in sensitivity["layers"]
        if row[headline]
    }


def with_ratio(params: Params, ratio: float) -> Params:
    """These parameters with another `prune.ratio`."""
    return params.model_copy(update={"prune": params.prune.model_copy(update={"ratio": ratio})})


def _copy(source: Path, target: Path) -> None:
    for name in (*card_files(read_card(source)), CURVES):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


class Round(NamedTuple):
    """What a round begins with.

    Attributes:
        number: from 1.
        plans: what each round narrows to.
        network: narrowed to this round's plan already, and not recovered.
        sensitivity: that the plans were made by, if they were.
        curves: rows of the rounds before.
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
        what the last recovery reports, with all rounds' steps; the sensitivity, if plans depend on it.
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
        metrics = recover(current.network, project, task, params, dataset, target, params.prune.steps, prior)
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
    steps: int,
    prior: PriorTraining,
) -> Metrics:
    """Train a pruned network as students are distilled; write weights and curves.csv into `target`."""
    objective = distillation_objective(task, network, dataset, params, project)
    return task.train(network, objective, dataset, params, target, steps=steps, seed=params.seed, prior=prior)


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
