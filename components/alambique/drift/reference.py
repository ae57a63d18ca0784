"""The reference of a production batch: features of the champion's dataset, computed once and stored in
the folder that `home` of alambique.yaml names.

Pixels are compared with training images. The network's outputs are compared with those on val and test images, since
on its training images it is overfitted. All of them without augmentation.

Production images that joined the dataset after drift are a second reference: a batch like them is no drift any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.data import dataset
from alambique.data.dataset import IMAGE_SUFFIXES, Dataset
from alambique.drift import features
from alambique.drift.features import VERSION, Reference
from alambique.drift.image_statistics import statistics
from alambique.errors import DataError, IntegrityError
from alambique.files import read_json, write_bytes
from alambique.git import checkout
from alambique.layout import CARD, DATA, Candidate, checkpoint
from alambique.pipeline import dvc_repository, transfer
from alambique.pipeline.transfer import reaching
from alambique.pipeline.trees import load_tree
from alambique.registry import run_artifacts
from alambique.registry.ledger import Entry
from alambique.runs.versioning import data_hash
from alambique.tasks import Task

SAMPLE = 400
"""Images of either kind at most, which bounds the cost of computing a reference."""

MIN_IMAGES = 50
"""Images of val and test needed to compare the network's outputs; and production images needed for a reference."""

TRAINING_FILE, PRODUCTION_FILE = "origin.npz", "field.npz"

SEED = 0
"""Of the random choice of images."""

TRAINED, HELD_OUT = ("train", "unlabelled"), ("val", "test")


class Champion(NamedTuple):
    """A champion whose recorded run is checked out.

    Attributes:
        project: the workspace, at the run's commit.
        checkpoint: pulled folder that its artifact was exported from, relative to the project.
        image_size: of its input, pixels.
        classes: its class names.
        data: md5 of its dataset.
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
    """The champion of the first runtime that has one: champions of all runtimes are exported from such checkpoints."""
    entries = (run_artifacts.champion(f"{params.project}-{runtime}", origin) for runtime in params.runtimes)
    return next((entry for entry in entries if entry), None)


def check_out(project: Path, entry: Entry) -> Champion:
    """Check out the champion's recorded run in a workspace, and pull its checkpoint alone.

    Raises:
        IntegrityError, TransientError: the DVC remote does not have it, or is out of reach.
    """
    checkout(entry.tag, project)
    folder = checkpoint(Candidate.parse(entry.candidate).student, "pruned")
    transfer.pull(project, [str(folder)])
    card = read_json(project / folder / CARD)
    return Champion(entry, project, folder, card["image_size"], card["classes"], data_hash(project))


def load(champion: Champion, deployment: Deployment, task: Task, params: Params) -> tuple[Reference, Reference | None]:
    """The champion's references, from `home` if they were computed before.

    Returns:
        its dataset without the production images that joined it; and these, if there are at least `MIN_IMAGES`.
    Raises:
        DataError: none of the training images can be read.
        IntegrityError, TransientError: the DVC remote lacks an image, or is out of reach.
    """
    settings = [champion.entry.digest, champion.data, champion.image_size, params.evaluate.model_dump(), VERSION]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    folder = deployment.home.absolute() / "drift" / "reference" / key
    if not (folder / TRAINING_FILE).exists():
        _compute(champion, task, params, folder)
    production = features.load(folder / PRODUCTION_FILE) if (folder / PRODUCTION_FILE).exists() else None
    return features.load(folder / TRAINING_FILE), production


def _compute(champion: Champion, task: Task, params: Params, folder: Path) -> None:
    with tracked_files(champion.project, DATA) as files:
        trained, held_out = (_images(files, champion.project / DATA, splits) for splits in (TRAINED, HELD_OUT))
        joined = [name for name in trained if f"/{dataset.PRODUCTION_FOLDER}/" in name]
        if len(joined) >= MIN_IMAGES:
            features.save(folder / PRODUCTION_FILE, _describe(champion, task, params, files, joined, joined))
        others = [name for name in trained if name not in set(joined)]
        features.save(folder / TRAINING_FILE, _describe(champion, task, params, files, others, held_out))


def _describe(
    champion: Champion, task: Task, params: Params, files: TrackedFiles, trained: Sequence[str], held_out: Sequence[str]
) -> Reference:
    trained, held_out = _sampled(trained), _sampled(held_out)
    enough = len(held_out) >= MIN_IMAGES
    trained_paths, held_out_paths = files.fetch(trained), files.fetch(held_out if enough else [])
    table, read = statistics(trained_paths)
    if not read.any():
        raise DataError(f"no training image of {champion.entry.tag} can be read; roll back to another champion")
    readable = [image for image, valid in zip(held_out_paths, statistics(held_out_paths)[1], strict=True) if valid]
    weights = champion.project / champion.checkpoint
    network_features = task.drift_features(weights, readable, params) if readable else None
    return Reference(table[read], network_features, int(read.sum()), len(readable if enough else held_out))


def _images(files: TrackedFiles, root: Path, splits: Sequence[str]) -> list[str]:
    (described,) = files.fetch(["data.yaml"])
    write_bytes(root / "data.yaml", described.read_bytes())
    folders = Dataset.load(root).folders
    prefixes = tuple(f"{folders[split].as_posix()}/" for split in splits if split in folders)
    return sorted(
        name for name in files.hashes if name.startswith(prefixes) and Path(name).suffix.lower() in IMAGE_SUFFIXES
    )


def _sampled(names: Sequence[str]) -> list[str]:
    """At most `SAMPLE` of them, in their order."""
    if len(names) <= SAMPLE:
        return list(names)
    chosen = np.random.default_rng(SEED).choice(len(names), SAMPLE, replace=False)
    return [names[index] for index in sorted(chosen)]


@dataclass(frozen=True)
class TrackedFiles:
    """Single files of a folder that DVC tracks, without pulling the others.

    `dvc pull` of single files takes a quarter of a second for each. Here their objects are transferred to the machine's
    cache, and read there.

    Attributes:
        hashes: of each file, by its path in the folder.
        cache, remote: DVC's object stores.
    """

    folder: Path
    hashes: dict[str, Any]
    cache: Any
    remote: Any

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Transfer files to the machine's cache; returns the paths of their objects there, which have no suffix.

        Raises:
            IntegrityError: the remote lacks an object, or holds other bytes than its hash promises.
            TransientError: the remote is out of reach.
        """
        from dvc_data.hashfile.transfer import transfer

        with reaching(self.remote.path):  # `verify`: the cache keeps no damaged object
            transfer(self.remote, self.cache, [self.hashes[name] for name in names], verify=True, shallow=True)
        paths = [Path(self.cache.oid_to_path(self.hashes[name].value)) for name in names]
        for name, path in zip(names, paths, strict=True):
            if not path.exists():
                oid = self.hashes[name].value
                raise IntegrityError(
                    f"{self.folder}/{name}: the DVC remote lacks its object {oid}, or holds other bytes for it; delete "
                    f"{self.remote.oid_to_path(oid)} if it is there, and `dvc push` from where the file still is"
                )
        return paths


@contextmanager
def tracked_files(project: Path, folder: Path) -> Iterator[TrackedFiles]:
    """A folder tracked by the workspace's DVC; only the list of its files is transferred.

    Raises:
        IntegrityError: the remote lacks the list.
        TransientError: the remote is out of reach.
    """
    with dvc_repository.opened(project) as repo:
        (out,) = repo.find_outs_by_path(str(project / folder))
        tracked = TrackedFiles(folder, {".": out.hash_info}, out.cache, repo.cloud.get_remote_odb())
        tracked.fetch(["."])
        tree = load_tree(tracked.cache, out.hash_info.value)
        tracked.hashes.update({"/".join(key): hash_info for key, _, hash_info in tree})
        yield tracked
