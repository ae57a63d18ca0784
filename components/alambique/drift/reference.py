"""What a production batch is compared with: images that the champion learned from, and images that it never saw.

Training images tell how images look. What a network makes of its own training images says nothing about others, since
it knows them by heart: there val and test are the reference. Neither is compared as training saw it, augmented.

Images from the field that joined when production had drifted are a reference of their own: what is like them is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.data import dataset
from alambique.data.dataset import IMAGE_SUFFIXES, Dataset
from alambique.drift import dvc_files, features
from alambique.drift.dvc_files import Files
from alambique.drift.features import VERSION, Reference
from alambique.drift.image_statistics import statistics
from alambique.errors import DataError
from alambique.files import read_json, write_bytes
from alambique.git import git
from alambique.layout import CARD, DATA, Candidate, checkpoint
from alambique.pipeline import transfer
from alambique.registry import run_artifacts
from alambique.registry.ledger import Entry
from alambique.runs.versioning import data_hash
from alambique.tasks import Task

SAMPLE = 400
"""Images of either kind at most, which bounds what the first look at a champion costs."""

ENOUGH = 50
"""Images of val and test below which nothing that comes from the network is compared; and images from the field below
which nothing is compared with them."""

ORIGIN, FIELD = "origin.npz", "field.npz"

SEED = 0
"""Of the choice of images."""

TRAINED, HELD_OUT = ("train", "unlabelled"), ("val", "test")


class Champion(NamedTuple):
    """A champion whose recorded run is checked out.

    Attributes:
        project: the workspace, at the run's commit.
        checkpoint: folder that its artifact was exported from, relative to the project; it is pulled.
        image_size: of its input, pixels.
        classes: that it knows.
        data: md5 of the dataset that it was made from.
    """

    entry: Entry
    project: Path
    checkpoint: Path
    image_size: int
    classes: list[str]
    data: str

    @property
    def student(self) -> str:
        return Candidate.parse(self.entry.candidate).student


def present(params: Params, origin: str) -> Entry | None:
    """The champion of the first runtime that has one: the others' are exported from such checkpoints, too."""
    entries = (run_artifacts.champion(f"{params.project}-{runtime}", origin) for runtime in params.runtimes)
    return next((entry for entry in entries if entry), None)


def check_out(project: Path, entry: Entry) -> Champion:
    """Move a workspace to the champion's recorded run, and pull the checkpoint alone.

    Raises:
        IntegrityError, TransientError: the DVC remote does not have it, or is out of reach.
    """
    git("checkout", "--quiet", entry.tag, "--", cwd=project)
    folder = checkpoint(Candidate.parse(entry.candidate).student, "pruned")
    transfer.pull(project, [str(folder)])
    card = read_json(project / folder / CARD)
    return Champion(entry, project, folder, card["image_size"], card["classes"], data_hash(project))


class Known(NamedTuple):
    """All that a batch may be like.

    Attributes:
        origin: the dataset without what joined from the field.
        field: that, if it is enough to compare with.
    """

    origin: Reference
    field: Reference | None


def load(champion: Champion, deployment: Deployment, task: Task, params: Params) -> Known:
    """The champion's references, from this machine's `home` if they were computed there before.

    Raises:
        DataError: none of the training images can be read.
        IntegrityError, TransientError: the DVC remote lacks an image, or is out of reach.
    """
    settings = [champion.entry.digest, champion.data, champion.image_size, params.evaluate.model_dump(), VERSION]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    folder = deployment.home.absolute() / "drift" / "reference" / key
    if not (folder / ORIGIN).exists():
        _make(champion, task, params, folder)
    field = features.load(folder / FIELD) if (folder / FIELD).exists() else None
    return Known(features.load(folder / ORIGIN), field)


def _make(champion: Champion, task: Task, params: Params, folder: Path) -> None:
    with dvc_files.files(champion.project, DATA) as files:
        trained, held_out = (_images(files, champion.project / DATA, splits) for splits in (TRAINED, HELD_OUT))
        joined = [name for name in trained if f"/{dataset.FIELD}/" in name]
        if len(joined) >= ENOUGH:
            features.save(folder / FIELD, _describe(champion, task, params, files, _some(joined), _some(joined)))
        others = [name for name in trained if name not in set(joined)]
        features.save(folder / ORIGIN, _describe(champion, task, params, files, _some(others), _some(held_out)))


def _describe(
    champion: Champion, task: Task, params: Params, files: Files, trained: Sequence[str], held_out: Sequence[str]
) -> Reference:
    enough = len(held_out) >= ENOUGH
    seen, unseen = files.fetch(trained), files.fetch(held_out if enough else [])
    table, read = statistics(seen)
    if not read.any():
        raise DataError(f"no training image of {champion.entry.tag} can be read; roll back to a champion whose can")
    readable = [image for image, sound in zip(unseen, statistics(unseen)[1], strict=True) if sound]
    observed = task.drift_features(champion.project / champion.checkpoint, readable, params) if readable else None
    return Reference(table[read], observed, int(read.sum()), len(readable if enough else held_out))


def _images(files: Files, root: Path, splits: Sequence[str]) -> list[str]:
    """Names of the images of these splits."""
    (described,) = files.fetch(["data.yaml"])
    write_bytes(root / "data.yaml", described.read_bytes())
    folders = Dataset.load(root).folders
    wanted = tuple(f"{folders[split].as_posix()}/" for split in splits if split in folders)
    return sorted(name for name in files.hashes if name.startswith(wanted) and _is_image(name))


def _some(names: Sequence[str]) -> list[str]:
    """At most `SAMPLE` of them, in their order."""
    if len(names) <= SAMPLE:
        return list(names)
    chosen = np.random.default_rng(SEED).choice(len(names), SAMPLE, replace=False)
    return [names[index] for index in sorted(chosen)]


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES
