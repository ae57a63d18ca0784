"""Put a staged batch into a dataset: each image in a split, no image in two, and nothing there is lost.

A merge that is repeated after an interruption ends as if there had been none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from alambique.config.params import Ingest
from alambique.data.arrivals import FileOutcome, Outcome
from alambique.data.dataset import FIELD, LABELLED, SPLITS, Dataset, read_boxes
from alambique.data.near_duplicates import fingerprints, nearest
from alambique.data.staging import Staged
from alambique.files import sha256, write_bytes, write_text

UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class History:
    """What earlier ingestions brought.

    Attributes:
        paths: in the dataset, below images/; from whatever source.
        keys: by path, the files of this batch's source that it came from.
    """

    paths: frozenset[str]
    keys: dict[str, frozenset[str]]


class Merger:
    """A dataset that images are put into, one by one.

    Args:
        root: the dataset's folder, which is changed; its files may be read-only links, which are replaced.
        shares: how labelled images are spread over the splits.
        history: of earlier ingestions.
        field: whether the images come from the field, and are kept together.
    """

    def __init__(self, root: Path, shares: Ingest, history: History, field: bool = False) -> None:
        self.dataset = Dataset.load(root)
        self.shares = shares
        self.history = history
        self.folder = FIELD if field else ""
        self.paths = [path for split in SPLITS for path in self.dataset.images(split)]
        self.prints = fingerprints(self.paths)
        self.twins: dict[str, list[Path]] = {}
        for path in self.paths:
            self.twins.setdefault(sha256(path), []).append(path)

    def merge(self, staged: Sequence[Staged]) -> list[FileOutcome]:
        """Put a batch into the dataset; where too much of it is broken, none of it.

        Returns:
            what became of each pair, in their order.
        """
        broken = sum(bool(each.wrong) for each in staged)
        if broken > self.shares.max_invalid_fraction * len(staged):
            why = f"{broken} of the {len(staged)} images of this batch are broken, so none of it joined"
            return [_outcome(each, "quarantined", reason="; ".join(each.wrong) or why) for each in staged]
        return [self._put(each) for each in staged]

    def _put(self, each: Staged) -> FileOutcome:
        if each.wrong or each.image is None:
            return _outcome(each, "quarantined", reason="; ".join(each.wrong))
        twins = self.twins.get(str(each.sha256), [])
        unlabelled = [path for path in twins if self._split(path) == UNLABELLED]
        labelled = [path for path in twins if path not in unlabelled]
        if each.label and unlabelled:
            return self._label(each, each.label, unlabelled, labelled)
        if twins:
            return self._again(each, twins[0])
        return self._add(each)

    def _add(self, each: Staged) -> FileOutcome:
        image = Path(str(each.image))
        (fingerprint,) = fingerprints([image])
        like = nearest(fingerprint, self.prints)
        resembled = self.paths[like] if like is not None else None
        known = self._split(resembled) if resembled else None
        if each.label:
            split = ("train" if known == UNLABELLED else known) or self._chosen(each)
        elif resembled and known in {"val", "test"}:
            # Unlabelled images are trained on.
            return _outcome(
                each, "quarantined", reason=f"it resembles {self._name(resembled)}, which measures the models"
            )
        else:
            split = UNLABELLED
        target = self._write(each, split)
        self.paths.append(target)
        self.prints = np.concatenate([self.prints, fingerprint[None]])
        return _outcome(each, "added", path=self._name(target))

    def _label(self, each: Staged, label: Path, unlabelled: list[Path], labelled: list[Path]) -> FileOutcome:
        """An image that was there without labels has them now. It was trained on, and goes on being so."""
        target = labelled[0] if labelled else self._write(each, "train")
        for path in unlabelled:
            path.unlink()
            index = self.paths.index(path)
            self.paths[index] = target
        self.twins[str(each.sha256)] = [target]
        return _outcome(each, "labelled", path=self._name(target))

    def _again(self, each: Staged, twin: Path) -> FileOutcome:
        name = self._name(twin)
        if each.label and not _equal(each.label, self.dataset.label(twin)):
            if not self.history.keys.get(name, frozenset()) & {item.key for item in each.pair.items}:
                return _outcome(each, "duplicate", path=name, reason=f"{name} has these bytes and other labels")
            write_bytes(self.dataset.label(twin), each.label.read_bytes())
            return _outcome(each, "relabelled", path=name)
        if name not in self.history.paths and twin.name == _file_name(
            each
        ):  # put there by a merge that was interrupted
            return _outcome(each, "added", path=name)
        return _outcome(each, "duplicate", path=name, reason=f"{name} has these bytes")

    def _chosen(self, each: Staged) -> str:
        """The split that its folders name, or one by the image's hash, so that a repetition chooses it again."""
        folders = PurePosixPath(each.pair.key).parts[:-1]
        if named := [folder for folder in folders if folder in LABELLED]:
            return named[-1]
        share = int(str(each.sha256)[:8], 16) / 2**32
        if share < self.shares.test:
            return "test"
        return "val" if share < self.shares.test + self.shares.val else "train"

    def _write(self, each: Staged, split: str) -> Path:
        if not self.dataset.has(split):
            source = self.dataset.root / "data.yaml"
            write_text(source, f"{source.read_text().rstrip()}\n{split}: images/{split}\n")
            self.dataset = Dataset.load(self.dataset.root)
        target = self.dataset.root / self.dataset.folders[split] / self.folder / _file_name(each)
        if each.label:  # first, so that nobody ever sees the image without
            write_bytes(self.dataset.label(target), each.label.read_bytes())
        write_bytes(target, Path(str(each.image)).read_bytes())
        self.twins[str(each.sha256)] = [target]
        return target

    def _split(self, path: Path) -> str:
        inside = path.relative_to(self.dataset.root)
        return next(split for split, folder in self.dataset.folders.items() if inside.is_relative_to(folder))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.dataset.root / "images").as_posix()


def _file_name(each: Staged) -> str:
    """What people called it, as far as a file name may hold that, and enough of its hash to be its own."""
    path = PurePosixPath(each.pair.key)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-")[:64] or "image"
    return f"{stem}-{str(each.sha256)[:8]}{path.suffix.lower()}"


def _equal(one: Path, other: Path) -> bool:
    return bool(np.array_equal(read_boxes(one), read_boxes(other)))


def _outcome(each: Staged, outcome: Outcome, path: str | None = None, reason: str | None = None) -> FileOutcome:
    versions = {item.key: item.version for item in each.pair.items}
    return FileOutcome(versions, outcome, path, each.sha256, reason)
