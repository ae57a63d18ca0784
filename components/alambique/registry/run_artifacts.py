"""Outs of runs: of the present one in a clone at its commit, of recorded ones a champion's artifact and its checkpoint.

A checkpoint has a URI as other weights have: `champion:onnx`, and, pinned to a recorded run and a folder in it,
`champion:onnx@runs/20260101-abc:models/pruned/pico`.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.config.deployment import Deployment
from alambique.config.section import CHAMPION
from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import read_json, sha256
from alambique.git import fetched
from alambique.layout import CANDIDATES, CARD, REPORT, WEIGHTS, Candidate, artifact_digest, checkpoint
from alambique.messages import RunRequest, StageResult
from alambique.pipeline import dvc_repository, transfer
from alambique.registry.ledger import Entry, Ledger

LEADERBOARD = REPORT / "leaderboard.json"

PINNED = re.compile(rf"{CHAMPION}\w+@(?P<tag>[^:]+):(?P<path>.+)")


@contextmanager
def checked_out(request: RunRequest, paths: Iterable[Path] = ()) -> Iterator[Path]:
    """A throw-away clone at the run's revision, dvc.lock merged from all its stages, with `paths` (whole outs) pulled.

    Raises:
        TransientError: the origin or the DVC remote is out of reach.
        IntegrityError: no stage of the run made one of `paths`.
    """
    for path in paths:
        producer(request, path)
    with dvc_repository.cloned(request.deployment, request.run.revision, "registry") as project:
        entries = {stage: result.entry for stage, result in request.stages.items()}
        dvc_repository.write_lock(project, {**request.run.lock, **entries})
        transfer.pull(project, [path.as_posix() for path in paths])
        yield project


def outs(request: RunRequest) -> dict[str, StageResult]:
    """The stage result behind each out of the run, by path."""
    return {str(out["path"]): result for result in request.stages.values() for out in result.entry.get("outs", ())}


def producer(request: RunRequest, path: Path) -> StageResult:
    """The result of the stage that has `path` among its outs; an IntegrityError if there is none."""
    if result := outs(request).get(path.as_posix()):
        return result
    raise IntegrityError(
        f"no stage of run {request.run.run_id} made {path}; its graph and params.yaml disagree: "
        "run `alambique graph write`, commit, and start another run"
    )


def champion(model: str, origin: str | None) -> Entry | None:
    """The present champion of a registered model, by the ledger in `origin`; None if there is none yet."""
    state = Ledger(origin, model).read() if origin else None
    return state.champion if state else None


def pin_revision(uri: str, project: str, origin: str | None) -> str:
    """`champion:<runtime>` with the recorded run of the project's present champion and the checkpoint's folder in it.

    Raises:
        ConfigurationError: there is no champion yet.
        TransientError: origin is out of reach.
    """
    model = f"{project}-{uri.removeprefix(CHAMPION)}"
    if (entry := champion(model, origin)) is None:
        raise ConfigurationError(
            f"{uri} asks for the checkpoint behind the champion of {model}, but there is none yet; run once with "
            "another teacher and promote a candidate, then distil the champion into its successor"
        )
    folder = checkpoint(Candidate.parse(entry.candidate).student, "pruned")
    return f"{uri}@{entry.tag}:{folder.as_posix()}"


def fetch_checkpoint(uri: str, origin: str, target: Path) -> None:
    """Write the weights behind a pinned URI into the file `target`.

    Raises:
        IntegrityError: they are not what their card says.
        TransientError: the DVC remote is out of reach.
    """
    if (match := PINNED.fullmatch(uri)) is None:
        raise ValueError(uri)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch) / "checkpoint"
        get(origin, match["tag"], Path(match["path"]), folder)
        actual, expected = sha256(folder / WEIGHTS), read_json(folder / CARD)["sha256"]
        if actual != expected:
            raise IntegrityError(
                f"the weights of {uri} have sha256 {actual[:12]}, but their card says {expected[:12]}; the DVC remote "
                "holds other bytes than were recorded: restore it, or give another teacher"
            )
        (folder / WEIGHTS).replace(target)


def fetch_artifact(entry: Entry, old: Path, origin: str, target: Path) -> None:
    """Copy a champion's artifact to the folder `target`: from the folder `old` if that holds it, else from the remote.

    Raises:
        IntegrityError: it is not what the ledger promises.
        TransientError: the DVC remote is out of reach.
    """
    if (old / CARD).exists() and artifact_digest(old) == entry.digest and entry.card in {"", sha256(old / CARD)}:
        shutil.copytree(old, target)
    else:
        get(origin, entry.tag, CANDIDATES / entry.candidate, target)
    if (actual := artifact_digest(target)) != entry.digest:
        raise IntegrityError(
            f"{entry.candidate} at {entry.tag} has digest {actual}, but the ledger of {entry.model} promises "
            f"{entry.digest}; roll {entry.model} back, or promote another run"
        )
    if entry.card not in {"", actual := sha256(target / CARD)}:
        raise IntegrityError(
            f"the card of {entry.candidate} at {entry.tag} has sha256 {actual}, but the ledger of {entry.model} "
            f"promises {entry.card}; roll {entry.model} back, or promote another run"
        )


def get(origin: str, tag: str, path: Path, target: Path) -> None:
    """Download an out of a recorded run: its tag's dvc.lock names the bytes, its DVC remote holds them.

    Raises:
        ConfigurationError: there is no such tag.
        IntegrityError: the remote lacks it, or holds other bytes than the tag's hashes promise.
        TransientError: the origin or the DVC remote is out of reach.
    """
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".get-") as home,
        fetched(origin, f"refs/tags/{tag}", "--depth=1") as (project, commit),
    ):
        if commit is None:
            raise ConfigurationError(f"{origin} has no tag {tag}; `git ls-remote --tags` lists the recorded runs")
        entries = dvc_repository.lock_entries(project).values()
        outs = {str(out["path"]) for entry in entries for out in entry.get("outs", ())}
        outs |= dvc_repository.source_hashes(project).keys()
        out = next((place for place in (path, *path.parents) if place.as_posix() in outs), None)
        if out is None:
            raise IntegrityError(f"{tag} in {origin} has a hash of no {path}: its dvc.lock lacks it; start another run")
        # `dvc get` would take what comes without a check, and write where a list of files leads.
        dvc_repository.configure_dvc(project, Deployment(origin=origin, home=Path(home)))
        transfer.pull(project, [out.as_posix()])
        if not (project / path).exists():
            raise IntegrityError(f"{out} of {tag} in {origin} holds no {path.relative_to(out)}; start another run")
        _copy(project / path, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder without the cache's rights, which are read-only, and without its links."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
