"""Turn what params.yaml names by mutable references (weights, champions) into bytes that a run can depend on.

inputs/teachers/   index.json {teacher: {"uri", "sha256", "file"}}, the files
inputs/students/   index.json {student: {"uri", "sha256", "file"}}, the files
inputs/champions/  index.json {runtime: {"model", "version", "tag", "digest"} or null}, <runtime>/ as it was exported

Where nothing is named (from scratch), the three are null. An alias is written as the version that it stood for.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alambique.config import Params
from alambique.data import sources
from alambique.errors import AlambiqueError, IntegrityError, TransientError
from alambique.files import fresh_folder, read_json, sha256, write_json
from alambique.layout import CANDIDATES, CARD, INPUTS, artifact_digest
from alambique.registry.ledger import Ledger

INDEX = "index.json"
FOLDERS = ("inputs/teachers", "inputs/students", "inputs/champions")


@dataclass(frozen=True)
class Weights:
    """One entry of an index: where bytes came from, what they are, and their file beside the index."""

    uri: str | None = None
    sha256: str | None = None
    file: str | None = None


def resolve(project: Path, params: Params, origin: str | None, tracking_uri: str | None) -> None:
    """Write `project`/inputs anew; what is there already and cannot have changed is not fetched again.

    Args:
        project: a working folder, holding the inputs of an earlier run or none.
        origin: git URL of the ledger and the recorded runs; None: there is no champion.
        tracking_uri: of the MLflow whose `models:/` URIs are meant.
    Raises:
        IntegrityError: bytes are not what the pin or the ledger promises.
        ConfigurationError, DataError: a reference leads nowhere.
        TransientError: a service is out of reach.
    """
    _teachers(project / INPUTS / "teachers", params, tracking_uri)
    _students(project / INPUTS / "students", params, tracking_uri)
    _champions(project / INPUTS / "champions", params, origin)


def _teachers(target: Path, params: Params, tracking_uri: str | None) -> None:
    index = _index(target)
    with fresh_folder(target) as folder:
        entries = {}
        for name in params.teachers:
            asked, old = params.teacher[name], _previous(target, index.get(name, {}))
            entries[name] = asdict(_take(folder / f"{name}.pt", asked.weights, asked.sha256, old, tracking_uri))
        write_json(folder / INDEX, entries)


def _students(target: Path, params: Params, tracking_uri: str | None) -> None:
    index = _index(target)
    with fresh_folder(target) as folder:
        entries = {}
        for student in params.students:
            old = _previous(target, index.get(student, {}))
            start = params.networks[student].start
            entries[student] = asdict(_take(folder / f"{student}.pt", start, None, old, tracking_uri))
        write_json(folder / INDEX, entries)


def _champions(target: Path, params: Params, origin: str | None) -> None:
    with fresh_folder(target) as folder:
        index = {
            runtime: _champion(folder / runtime, target / runtime, f"{params.project}-{runtime}", origin)
            for runtime in params.runtimes
        }
        write_json(folder / INDEX, index)


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    content: dict[str, Any] = read_json(path) if path.exists() else {}
    return content


def _previous(folder: Path, content: dict[str, Any]) -> tuple[Weights, Path] | None:
    """An earlier entry of an index and its file, if its bytes are still what it says."""
    entry = Weights(**content)
    if entry.file is None or not (path := folder / entry.file).exists() or sha256(path) != entry.sha256:
        return None
    return entry, path


def _take(
    target: Path, uri: str | None, pin: str | None, previous: tuple[Weights, Path] | None, tracking_uri: str | None
) -> Weights:
    if uri is None:
        return Weights()
    uri = sources.pinpoint(uri, tracking_uri)
    if previous and _same(uri, pin, previous[0]):
        shutil.copyfile(previous[1], target)
    else:
        sources.fetch(uri, target, tracking_uri)
    found = sha256(target)
    if pin and found != pin:
        raise IntegrityError(
            f"{uri} has sha256 {found}, but sha256 in params.yaml pins {pin}; "
            "find out who replaced it, or pin the new bytes"
        )
    return Weights(uri, found, target.name)


def _same(uri: str, pin: str | None, previous: Weights) -> bool:
    return previous.uri == uri and (sources.immutable(uri) or (pin is not None and previous.sha256 == pin))


def _champion(target: Path, old: Path, model: str, origin: str | None) -> dict[str, str] | None:
    state = Ledger(origin, model).read() if origin else None
    if origin is None or state is None:
        return None
    champion = state.champion
    if (old / CARD).exists() and artifact_digest(old) == champion.digest:
        shutil.copytree(old, target)
    else:
        _from_tag(origin, champion.tag, CANDIDATES / champion.candidate, target)
    if (found := artifact_digest(target)) != champion.digest:
        raise IntegrityError(
            f"{champion.candidate} at {champion.tag} has digest {found}, but the ledger of {model} promises "
            f"{champion.digest}; roll {model} back, or promote another run"
        )
    return {"model": model, "version": champion.version, "tag": champion.tag, "digest": champion.digest}


def _from_tag(origin: str, tag: str, path: Path, target: Path) -> None:
    """Download an out of a recorded run: its tag's dvc.lock names the bytes, its DVC remote holds them."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        Repo.get(origin, path.as_posix(), out=str(target), rev=tag)
    except OSError as error:
        raise TransientError(f"cannot download {path} of {tag}: {error}; is the DVC remote in reach?") from error
    except (DvcException, SCMError) as error:
        raise AlambiqueError(f"DVC cannot get {path} of {tag} from {origin}: {error}") from error
