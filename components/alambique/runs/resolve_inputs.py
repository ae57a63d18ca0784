"""Download weights and champions that params.yaml names by mutable references into inputs/, tracked by DVC.

inputs/teachers/   index.json {teacher: {"uri", "sha256", "file"}}, the files or Hugging Face folders
inputs/students/   index.json {student: {"uri", "sha256", "file"}}, the files
inputs/champions/  index.json {runtime: {"model", "version", "tag", "digest"} or null}, <runtime>/ as it was exported

Where nothing is named (from scratch), uri, sha256 and file are null. An alias is recorded as its version, a champion as
the recorded run that it came from. Stages read the weights by `stages.work.given_weights`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alambique import tasks
from alambique.config.params import Params
from alambique.config.section import CHAMPION
from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import fresh_folder, read_json, write_json
from alambique.layout import INPUTS
from alambique.registry import run_artifacts
from alambique.runs import https, huggingface, weight_sources
from alambique.stages.work import INDEX, weights_sha256
from alambique.tasks import weight_files

FOLDERS = ("inputs/teachers", "inputs/students", "inputs/champions")


@dataclass(frozen=True)
class Weights:
    """One entry of an index: where the bytes came from, their SHA-256, their file beside it; None from scratch."""

    uri: str | None = None
    sha256: str | None = None
    file: str | None = None


def resolve(project: Path, params: Params, origin: str | None, tracking_uri: str | None) -> None:
    """Write `project`/inputs anew; files that cannot have changed are not downloaded again.

    Args:
        project: a working folder, holding the inputs of an earlier run or none.
        origin: git URL of the ledger and the recorded runs; None: there is no champion.
        tracking_uri: of the MLflow whose `models:/` URIs are meant.
    Raises:
        IntegrityError: bytes are not what the pin or the ledger promises.
        ConfigurationError, DataError: a reference does not exist.
        TransientError: a service is out of reach.
    """
    sources = _Sources(params.project, origin, tracking_uri, tasks.load(params.task).require_weights)
    teachers = {name: (params.teacher[name].weights, params.teacher[name].sha256) for name in params.teachers}
    students = {name: (params.student_weights(name), params.student_pin(name)) for name in params.students}
    _weights(project / INPUTS / "teachers", teachers, sources)
    _weights(project / INPUTS / "students", students, sources)
    _champions(project / INPUTS / "champions", params, origin)


@dataclass(frozen=True)
class _Sources:
    """Resolves references, by the ledger and recorded runs in `origin`, and by MLflow."""

    project: str
    origin: str | None
    tracking_uri: str | None
    require: Callable[[Path], None]
    """Refuses files that are no weights of the task."""

    def pin_revision(self, uri: str) -> str:
        """`uri` with its mutable part replaced by the present version."""
        if uri.startswith(CHAMPION):
            return run_artifacts.pin_revision(uri, self.project, self.origin)
        return weight_sources.pin_revision(uri, self.tracking_uri)

    def fetch(self, uri: str, target: Path) -> None:
        """Write the bytes behind a pinned `uri`; a DataError says what they are, if they are no weights of the task."""
        if uri.startswith(CHAMPION):
            run_artifacts.fetch_checkpoint(uri, str(self.origin), target)  # not None: the champion was read from it
        else:
            weight_sources.fetch(uri, target, self.tracking_uri)
            with weight_files.named(target, uri):
                self.require(target)


def _weights(target: Path, asked: Mapping[str, tuple[str | None, str | None]], sources: _Sources) -> None:
    """Write inputs/teachers or inputs/students with its index; `asked` has URI and pinned sha256 by name."""
    index: dict[str, Any] = read_json(target / INDEX) if (target / INDEX).exists() else {}
    with fresh_folder(target) as folder:
        entries = {}
        for name, (uri, pin) in asked.items():
            old = _previous(target, index.get(name, {}))
            file = name if uri and huggingface.is_folder(uri) else f"{name}.pt"
            entries[name] = asdict(_take(folder / file, uri, pin, old, sources))
        write_json(folder / INDEX, entries)


def _champions(target: Path, params: Params, origin: str | None) -> None:
    with fresh_folder(target) as folder:
        index: dict[str, dict[str, str] | None] = {}
        for runtime in params.runtimes:
            entry = run_artifacts.champion(f"{params.project}-{runtime}", origin)
            if entry is None or origin is None:
                index[runtime] = None
                continue
            run_artifacts.fetch_artifact(entry, target / runtime, origin, folder / runtime)
            index[runtime] = entry.model_dump(include={"model", "version", "tag", "digest"})
        write_json(folder / INDEX, index)


def _previous(folder: Path, content: dict[str, Any]) -> tuple[Weights, Path] | None:
    """An earlier entry of an index and its file, if the file's digest is still that of the entry."""
    entry = Weights(**content)
    if entry.file is None or not (path := folder / entry.file).exists() or weights_sha256(path) != entry.sha256:
        return None
    return entry, path


def _take(
    target: Path, uri: str | None, pin: str | None, previous: tuple[Weights, Path] | None, sources: _Sources
) -> Weights:
    if uri is None:
        return Weights()
    uri = sources.pin_revision(uri)
    if uri.startswith(https.SCHEME) and pin is None:
        raise ConfigurationError(f"{uri}: whoever serves it may change it; give `sha256` of the file beside `weights`")
    immutable = uri.startswith(CHAMPION) or weight_sources.immutable(uri)
    if previous and previous[0].uri == uri and (immutable or (pin and previous[0].sha256 == pin)):
        copy = shutil.copytree if previous[1].is_dir() else shutil.copyfile
        copy(previous[1], target)
    else:
        sources.fetch(uri, target)
    actual = weights_sha256(target)
    if pin and actual != pin:
        raise IntegrityError(
            f"{uri} has sha256 {actual}, but sha256 in params.yaml pins {pin}; "
            "find out who replaced it, or pin the new bytes"
        )
    return Weights(uri, actual, target.name)
