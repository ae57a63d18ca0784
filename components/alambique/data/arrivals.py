"""The verb `arrivals`: which images and labels at the place where data arrives were not ingested yet.

Every ingestion writes a record into the project, `arrivals/<batch>.json`, with the name, version and outcome of each
file. A file whose present version is in a record is skipped.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from alambique.config.deployment import Deployment
from alambique.data.dataset import IMAGE_SUFFIXES, OTHER_IMAGES
from alambique.data.forms.find import SUFFIXES
from alambique.data.read_yolo import label_of
from alambique.data.source_files import some
from alambique.data.store import Item, open_store
from alambique.errors import ConfigurationError
from alambique.files import read_json, reading, write_json
from alambique.git import clone, ref
from alambique.layout import ARRIVALS
from alambique.messages import Arrivals, ArrivalsRequest

log = logging.getLogger(__name__)

CLASSES = frozenset({"data.yaml", "data.yml"})
"""Files that name the classes of the labels below their folder."""

Outcome = Literal["added", "labelled", "relabelled", "duplicate", "quarantined"]


class Pair(NamedTuple):
    """An image with its labels if they arrive together; labels without an image are quarantined.

    Attributes:
        classes: the data.yaml nearest above the labels.
    """

    image: Item | None
    label: Item | None = None
    classes: Item | None = None

    @property
    def items(self) -> list[Item]:
        return [item for item in (self.image, self.label) if item]

    @property
    def key(self) -> str:
        return self.items[0].key


@dataclass
class FileOutcome:
    """The outcome of a pair's ingestion.

    Attributes:
        versions: of each of its files at that time, by key.
        path: of the image in the dataset, below images/.
        reason: why it was quarantined, or what it is a duplicate of.
    """

    versions: dict[str, str]
    outcome: Outcome
    path: str | None = None
    sha256: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Record:
    """One ingestion, started by `by`, of files whose keys are relative to the URL `source`."""

    source: str
    by: str
    outcomes: list[FileOutcome]

    @property
    def batch(self) -> str:
        """A name by content: equal files in equal versions give an equal name."""
        lines = [f"{key} {version}\n" for outcome in self.outcomes for key, version in outcome.versions.items()]
        return hashlib.sha256("".join([f"{self.source}\n", *sorted(lines)]).encode()).hexdigest()[:12]

    def save(self, project: Path) -> Path:
        """Write it into the project; returns the path from the root."""
        path = ARRIVALS / f"{self.batch}.json"
        content = {
            "schema": 1,
            "source": self.source,
            "by": self.by,
            "files": [asdict(outcome) for outcome in self.outcomes],
        }
        write_json(project / path, content)
        return path


def load(project: Path) -> list[Record]:
    """Every record of the project."""
    return [_record(path) for path in sorted((project / ARRIVALS).glob("*.json"))]


def _record(path: Path) -> Record:
    content = read_json(path)
    with reading(path, "restore it from git's history"):
        outcomes = [FileOutcome(**outcome) for outcome in content["files"]]
        for outcome in outcomes:
            outcome.versions.items()
        return Record(content["source"], content["by"], outcomes)


def pending(source: str, items: Iterable[Item], records: Iterable[Record]) -> list[Pair]:
    """The pairs among `items` of which a file is new or has changed since the records were written."""
    outcomes = (outcome for record in records if record.source == source for outcome in record.outcomes)
    ingested = {file for outcome in outcomes for file in outcome.versions.items()}
    return [pair for pair in pairs(items) if any((item.key, item.version) not in ingested for item in pair.items)]


def pairs(items: Iterable[Item]) -> list[Pair]:
    """Images with their labels: labels/… for images/… as YOLO has it, or a .txt beside the image."""
    by_key = {item.key: item for item in items}
    paths = {key: PurePosixPath(key) for key in by_key}
    classes = {str(path.parent): by_key[key] for key, path in paths.items() if path.name in CLASSES}
    images = {key: path for key, path in paths.items() if path.suffix.lower() in IMAGE_SUFFIXES | OTHER_IMAGES}
    labels = {
        key: by_key.get(label_of(Path(key)).as_posix()) or by_key.get(str(path.with_suffix(".txt")))
        for key, path in images.items()
    }
    used = {label.key for label in labels.values() if label}
    # A .txt file beside images may be anything; below a folder called labels it holds labels.
    stray = [key for key in by_key if key.endswith(".txt") and "labels" in key.split("/")[:-1] and key not in used]
    if others := [key for key, path in paths.items() if path.suffix.lower() in SUFFIXES]:
        log.warning("not read: %s; labels arrive as YOLO's .txt, images without them as unlabelled", some(others))
    with_image = [Pair(by_key[key], label, _nearest(label, classes)) for key, label in labels.items()]
    return with_image + [Pair(None, by_key[key]) for key in stray]


def count_new(request: ArrivalsRequest) -> Arrivals:
    """Count the new files, without downloading any.

    Raises:
        ConfigurationError: `arrivals` is not set, or there is no such place.
        TransientError: the place or the origin is out of reach.
    """
    source = arrivals_url(request.deployment)
    new = pending(source, open_store(source).items(), _committed(request.deployment))
    files = sorted({f"{item.key} {item.version}\n" for pair in new for item in pair.items})
    return Arrivals(new=len(files), digest=hashlib.sha256("".join(files).encode()).hexdigest())


def arrivals_url(deployment: Deployment) -> str:
    """Where new data arrives; a ConfigurationError if `arrivals` is not set."""
    if deployment.arrivals is None:
        raise ConfigurationError("`arrivals` of alambique.yaml is empty; name an s3://bucket/prefix or a folder")
    return deployment.arrivals.rstrip("/")


def _committed(deployment: Deployment) -> list[Record]:
    with tempfile.TemporaryDirectory(prefix="alambique-arrivals-") as name:
        folder = Path(name) / "project"
        clone(deployment.origin, folder, "--depth=1", f"--branch={ref(deployment.branch)}")
        return load(folder)


def _nearest(label: Item | None, classes: dict[str, Item]) -> Item | None:
    if label is None:
        return None
    above = (str(folder) for folder in PurePosixPath(label.key).parents)
    return next((classes[folder] for folder in above if folder in classes), None)
