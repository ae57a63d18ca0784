"""What a production batch is compared with: images that the champion learned from, and images that it never saw.

Training images tell how images look. What a network makes of its own training images says nothing about others, since
it knows them by heart: there val and test are the reference. Neither is compared as training saw it, augmented.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alambique import transfer
from alambique.config import Params
from alambique.data import recorded
from alambique.data.dataset import IMAGE_SUFFIXES, Dataset
from alambique.data.versioning import data_hash
from alambique.deployment import Deployment
from alambique.drift import features, tracked
from alambique.drift.features import VERSION, Reference
from alambique.drift.statistics import statistics
from alambique.drift.tracked import Files
from alambique.errors import DataError
from alambique.files import read_json, write_bytes
from alambique.git import git
from alambique.layout import CARD, DATA, Candidate, checkpoint
from alambique.registry.ledger import Entry
from alambique.tasks import Task

SAMPLE = 400
"""Images of either kind at most, which bounds what the first look at a champion costs."""

ENOUGH = 50
"""Images of val and test below which nothing that comes from the network is compared."""

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
    entries = (recorded.champion(f"{params.project}-{runtime}", origin) for runtime in params.runtimes)
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


def load(champion: Champion, deployment: Deployment, task: Task, params: Params) -> Reference:
    """The champion's reference, from this machine's `home` if it was computed there before.

    Raises:
        DataError: none of the training images can be read.
        IntegrityError, TransientError: the DVC remote lacks an image, or is out of reach.
    """
    settings = [champion.entry.digest, champion.data, champion.image_size, params.evaluate.threshold, VERSION]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    path = deployment.home.absolute() / "drift" / "reference" / f"{key}.npz"
    if not path.exists():
        features.save(path, _make(champion, task, params))
    return features.load(path)


def _make(champion: Champion, task: Task, params: Params) -> Reference:
    with tracked.files(champion.project, DATA) as files:
        trained, held_out = (_images(files, champion.project / DATA, splits) for splits in (TRAINED, HELD_OUT))
        enough = len(held_out) >= ENOUGH
        seen, unseen = files.fetch(trained), files.fetch(held_out if enough else [])
    table, read = statistics(seen)
    if not read.any():
        raise DataError(f"no training image of {champion.entry.tag} can be read; roll back to a champion whose can")
    readable = [image for image, sound in zip(unseen, statistics(unseen)[1], strict=True) if sound]
    observed = task.observe(champion.project / champion.checkpoint, readable, params) if readable else None
    return Reference(table[read], observed, int(read.sum()), len(readable if enough else held_out))


def _images(files: Files, root: Path, splits: Sequence[str]) -> list[str]:
    """Names of some of the images of these splits, at most `SAMPLE`."""
    (described,) = files.fetch(["data.yaml"])
    write_bytes(root / "data.yaml", described.read_bytes())
    folders = Dataset.load(root).folders
    wanted = tuple(f"{folders[split].as_posix()}/" for split in splits if split in folders)
    found = sorted(name for name in files.hashes if name.startswith(wanted) and _is_image(name))
    if len(found) <= SAMPLE:
        return found
    chosen = np.random.default_rng(SEED).choice(len(found), SAMPLE, replace=False)
    return [found[index] for index in sorted(chosen)]


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES
