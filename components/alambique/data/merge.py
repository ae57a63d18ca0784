"""Put a staged batch into a dataset: each image in a split, no image in two, and nothing there is lost.

Near-duplicates (frames of one film, another JPEG of one shot) stay in one split, by their perceptual hashes. A merge
that is repeated after an interruption ends as if there had been none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from alambique.config.params import Ingest
from alambique.data.arrivals import FileOutcome, Outcome
from alambique.data.dataset import LABELLED, PRODUCTION_FOLDER, SPLITS, Dataset, read_boxes
from alambique.data.near_duplicates import fingerprints, nearest
from alambique.data.staging import Staged
from alambique.files import sha256, write_bytes, write_text

UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class History:
    """Files that earlier ingestions added.

    Attributes:
        paths: in the dataset, below images/, from every source.
        keys: by path, the keys that it had at this batch's source.
    """

    paths: frozenset[str]
    keys: dict[str, frozenset[str]]


class Merger:
    """Puts images into a dataset, one by one.

    Args:
        root: the dataset's folder, which is changed; its files may be read-only links, which are replaced.
        shares: fractions of labelled images that go to each split.
        history: of earlier ingestions.
        from_production: whether the images are production images, which get a folder of their own.
    """

    def __init__(self, root: Path, shares: Ingest, history: History, from_production: bool = False) -> None:
        self.dataset = Dataset.load(root)
        self.shares = shares
        self.history = history
        self.folder = PRODUCTION_FOLDER if from_production else ""
        self.paths = [path for split in SPLITS for path in self.dataset.images(split)]
        self.prints = fingerprints(self.paths)
        self.by_sha256: dict[str, list[Path]] = {}
        for path in self.paths:
            self.by_sha256.setdefault(sha256(path), []).append(path)

    def merge(self, batch: Sequence[Staged]) -> list[FileOutcome]:
        """Put a batch into the dataset, or none of it if too much is broken; returns an outcome for each pair."""
        broken = sum(bool(staged.problems) for staged in batch)
        if broken > self.shares.max_invalid_fraction * len(batch):
            why = f"{broken} of the {len(batch)} images of this batch are broken, so none of it joined"
            return [_outcome(staged, "quarantined", reason="; ".join(staged.problems) or why) for staged in batch]
        return [self._put(staged) for staged in batch]

    def _put(self, staged: Staged) -> FileOutcome:
        if staged.problems or staged.image is None:
            return _outcome(staged, "quarantined", reason="; ".join(staged.problems))
        duplicates = self.by_sha256.get(str(staged.sha256), [])
        unlabelled = [path for path in duplicates if self._split(path) == UNLABELLED]
        labelled = [path for path in duplicates if path not in unlabelled]
        if staged.label and unlabelled:
            return self._label(staged, staged.label, unlabelled, labelled)
        if duplicates:
            return self._duplicate(staged, duplicates[0])
        return self._add(staged)

    def _add(self, staged: Staged) -> FileOutcome:
        image = Path(str(staged.image))
        (fingerprint,) = fingerprints([image])
        nearest_index = nearest(fingerprint, self.prints)
        similar = self.paths[nearest_index] if nearest_index is not None else None
        known = self._split(similar) if similar else None
        if staged.label:
            split = ("train" if known == UNLABELLED else known) or self._chosen(staged)
        elif similar and known in {"val", "test"}:
            # Unlabelled images are trained on.
            return _outcome(
                staged, "quarantined", reason=f"it resembles {self.dataset.inside(similar)}, which measures the models"
            )
        else:
            split = UNLABELLED
        target = self._write(staged, split)
        self.paths.append(target)
        self.prints = np.concatenate([self.prints, fingerprint[None]])
        return _outcome(staged, "added", path=self.dataset.inside(target))

    def _label(self, staged: Staged, label: Path, unlabelled: list[Path], labelled: list[Path]) -> FileOutcome:
        """Move an unlabelled image to train, with its labels: it was trained on before."""
        target = labelled[0] if labelled else self._write(staged, "train")
        for path in unlabelled:
            path.unlink()
            self.paths[self.paths.index(path)] = target
        self.by_sha256[str(staged.sha256)] = [target]
        return _outcome(staged, "labelled", path=self.dataset.inside(target))

    def _duplicate(self, staged: Staged, duplicate: Path) -> FileOutcome:
        name = self.dataset.inside(duplicate)
        if staged.label and not np.array_equal(read_boxes(staged.label), self.dataset.boxes(duplicate)):
            if not self.history.keys.get(name, frozenset()) & {item.key for item in staged.pair.items}:
                return _outcome(staged, "duplicate", path=name, reason=f"{name} has these bytes and other labels")
            write_bytes(self.dataset.label(duplicate), staged.label.read_bytes())
            return _outcome(staged, "relabelled", path=name)
        if name not in self.history.paths and duplicate.name == _file_name(staged):  # by a merge that was interrupted
            return _outcome(staged, "added", path=name)
        return _outcome(staged, "duplicate", path=name, reason=f"{name} has these bytes")

    def _chosen(self, staged: Staged) -> str:
        """The split that a folder of its key names, or one by its hash: the same at every ingestion."""
        folders = PurePosixPath(staged.pair.key).parts[:-1]
        if named := [folder for folder in folders if folder in LABELLED]:
            return named[-1]
        share = int(str(staged.sha256)[:8], 16) / 2**32
        if share < self.shares.test:
            return "test"
        return "val" if share < self.shares.test + self.shares.val else "train"

    def _write(self, staged: Staged, split: str) -> Path:
        if not self.dataset.has(split):
            source = self.dataset.root / "data.yaml"
            write_text(source, f"{source.read_text().rstrip()}\n{split}: images/{split}\n")
            self.dataset = Dataset.load(self.dataset.root)
        target = self.dataset.root / self.dataset.folders[split] / self.folder / _file_name(staged)
        if staged.label:  # before the image, which is never there without its labels then
            write_bytes(self.dataset.label(target), staged.label.read_bytes())
        write_bytes(target, Path(str(staged.image)).read_bytes())
        self.by_sha256[str(staged.sha256)] = [target]
        return target

    def _split(self, path: Path) -> str:
        inside = path.relative_to(self.dataset.root)
        return next(split for split, folder in self.dataset.folders.items() if inside.is_relative_to(folder))


def _file_name(staged: Staged) -> str:
    """Its stem at the source, as far as a file name may hold that, and part of its hash, which makes it unique."""
    path = PurePosixPath(staged.pair.key)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-")[:64] or "image"
    return f"{stem}-{str(staged.sha256)[:8]}{path.suffix.lower()}"


def _outcome(staged: Staged, outcome: Outcome, path: str | None = None, reason: str | None = None) -> FileOutcome:
    versions = {item.key: item.version for item in staged.pair.items}
    return FileOutcome(versions, outcome, path, staged.sha256, reason)
