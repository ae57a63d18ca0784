"""What the stages share: a checked start, outs that appear whole, metrics as a file, cards, programs, and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alambique import config, runtimes, tasks
from alambique.config import Params
from alambique.errors import IntegrityError
from alambique.evaluation.measures import Metrics
from alambique.files import folder_sha256, fresh_folder, read_json, sha256, write_json
from alambique.layout import CARD, METRICS, teacher
from alambique.runtimes.base import Program
from alambique.stages.validate import require_valid
from alambique.tasks import Task
from alambique.tasks.cards import read_card

Work = Callable[[Task, Params, Path], Metrics]
INDEX = "index.json"
"""Names the weights and champions in its folder of inputs/; see `runs.resolve_inputs`."""


def produce(project: Path, out: Path, metrics: str, work: Work) -> None:
    """Do a stage's `work` into its folder `out`, then write its metrics.

    Args:
        out: the stage's out, relative to the root; it appears only if `work` returns.
        metrics: name of the metrics file, without suffix, below metrics/.
        work: called with the task, the parameters and the empty folder to fill.
    Raises:
        DataError: the dataset did not pass validation.
    """
    params = config.load(project)
    require_valid(project)
    with fresh_folder(project / out) as target:
        results = work(tasks.load(params.task), params, target)
    write_json(project / METRICS / f"{metrics}.json", results)


def write_checkpoint_card(
    task: Task,
    folder: Path,
    params: Params,
    *,
    kind: str,
    data: str,
    student: str | None = None,
    teachers: list[str] | None = None,
    source: str | None = None,
    **figures: Any,
) -> dict[str, Any]:
    """Describe the checkpoint in `folder` in card.json, and return what was written.

    Args:
        kind: teacher, or one of `layout.Kind`.
        data: digest of the split it was trained on.
        teachers: SHA-256 of each teacher checkpoint whose soft labels it was trained on.
        source: where its first weights came from; None: initialised at random.
        figures: measured on val.
    """
    card = {
        "task": task.name,
        "kind": kind,
        "student": student,
        **task.describe(folder, params),
        "data": data,
        "teachers": teachers or [],
        "source": source,
        **figures,
    }
    write_json(folder / CARD, card)
    return card


def costs(card: dict[str, Any]) -> dict[str, int | None]:
    """The figures of a card that a stage's metrics repeat."""
    return {name: card[name] for name in ("parameters", "macs", "size_bytes")}


def teacher_folders(project: Path, params: Params) -> list[Path]:
    """The teachers' checkpoints, in the order of params.yaml."""
    return [project / teacher(name) for name in params.teachers]


def teacher_sha256s(project: Path, params: Params) -> list[str]:
    """SHA-256 of each teacher checkpoint whose soft labels a student is trained on; none with `method: none`."""
    if params.distill.method == "none":
        return []
    return [read_card(folder)["sha256"] for folder in teacher_folders(project, params)]


def open_program(task: Task, folder: Path, threads: int) -> Program:
    """A checkpoint or candidate, verified, loaded and ready.

    Raises:
        IntegrityError: a file is not what the card says.
        DataError: the card's runtime is unknown here.
    """
    card = read_card(folder)
    if "runtime" in card:
        return runtimes.open_candidate(folder, card, threads)
    return task.program(folder, threads)


def given_weights(folder: Path, name: str, pinned: str | None = None) -> tuple[Path | None, str | None]:
    """Path and URI of the weights of one entry of the index in `folder`, checked; both None where it names no weights.

    Args:
        pinned: the SHA-256 that params.yaml pins.
    Raises:
        IntegrityError: the file differs from the index or from `pinned`.
    """
    entry = read_json(folder / INDEX)[name]
    if entry["file"] is None:
        return None, None
    path = folder / entry["file"]
    actual = weights_sha256(path)
    for source, expected in (("the index", entry["sha256"]), ("params.yaml", pinned)):
        if expected not in (None, actual):
            raise IntegrityError(
                f"{path} has sha256 {actual[:12]}, but {source} says {expected[:12]}; "
                "give the right file, or correct the sha256 after you have checked who changed it"
            )
    return path, entry["uri"]


def weights_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, or `files.folder_sha256` of a folder."""
    return folder_sha256(path) if path.is_dir() else sha256(path)
