"""The state of a training that may be killed: one file, which the next try of the same stage begins with.

How a killed training resumes, from the outside in: `pipeline.resume_store` keeps the file on the DVC remote,
`process.resume_dir` says in which folder a stage finds it, this module reads and writes it, and `tasks.training_loop`
or, for detectors, `tasks.yolo.trainer_state` says what it holds. `stages.prune` adds the pruning round.

The file holds tensors and plain values only: it comes from a remote, and loading it must not run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alambique.files import write_bytes
from alambique.tasks.curves import STEP, Row

INTERVAL = 10.0
"""Least seconds between two states: intervals may be shorter than writing one takes."""

State = dict[str, Any]


class PriorTraining(NamedTuple):
    """The trainings of a stage before the present one: each state keeps them, so that a retry begins after them.

    Attributes:
        stage: fingerprint of the stage's work; empty where no training came before.
        curves: rows of the earlier trainings.
        initial_state: what the stage needs to start the present training again; tensors and plain values only.
    """

    stage: str = ""
    curves: list[Row] = []  # noqa: RUF012  never changed
    initial_state: State = {}  # noqa: RUF012

    @property
    def steps(self) -> int:
        """Steps of the earlier trainings whose curves are kept."""
        return int(self.curves[-1][STEP]) if self.curves else 0


NO_PRIOR = PriorTraining()

log = logging.getLogger(__name__)


class StateFile:
    """Where a training's state is kept: the sha256 of what follows, then what `torch.save` writes.

    Args:
        path: the file; its folder may not exist yet.
        training: fingerprint of the training; the state of another one is not read.
        interval: least seconds between two writes; the first is due at once.
        prior: trainings of the stage before this one, kept in every state.
    """

    def __init__(self, path: Path, training: str, interval: float, prior: PriorTraining = NO_PRIOR) -> None:
        self.path = path
        self.training = training
        self.interval = interval
        self.prior = prior
        self._written = float("-inf")

    def read(self) -> State | None:
        """The state to go on from; None, with a warning where there is something to warn of, to start over."""
        if (state := _read(self.path)) is None:
            return None
        if state["training"] != self.training:
            if _of_stage(state, self.prior.stage):  # the training before, which has ended
                return None
            log.warning("the state at %s is another training's; this training starts at its beginning", self.path)
            return None
        return state

    def is_due(self) -> bool:
        """Whether the last write is long enough ago."""
        return time.monotonic() - self._written >= self.interval

    def write(self, state: State) -> None:
        """Replace the file's content, at once."""
        body = io.BytesIO()
        torch.save({**state, "training": self.training, "prior": self.prior._asdict()}, body)
        content = body.getvalue()
        write_bytes(self.path, hashlib.sha256(content).digest() + content)
        self._written = time.monotonic()


def read_prior(path: Path, stage: str) -> PriorTraining | None:
    """The trainings before the one whose state is at `path`; None where there is none, or it is of another stage."""
    state = _read(path)
    return PriorTraining(**state["prior"]) if state and _of_stage(state, stage) else None


def _read(path: Path) -> State | None:
    """A file's state, if it has one that is not damaged."""
    if not path.exists():
        return None
    content = path.read_bytes()
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() == digest:
        with contextlib.suppress(Exception):  # the digest is in the file itself: who changed it may have mended that
            state: State = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
            if {"training", "prior"} <= state.keys():
                return state
    log.warning("the training state at %s is damaged; the training starts over", path)
    return None


def _of_stage(state: State, stage: str) -> bool:
    return bool(stage) and state.get("prior", {}).get("stage") == stage
