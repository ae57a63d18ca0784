"""Who is champion, as a git ref: promotion is a commit that `refs/alambique/<model>` moves to by compare-and-swap.

MLflow's aliases have no compare-and-set, a push with a lease has. The ref lives in the project's origin, its history is
who decided what. Only git is needed to read it: no MLflow, no clone of the project.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alambique.errors import AlambiqueError, ConflictError, TransientError
from alambique.files import read_json, write_json
from alambique.git import git

LEDGER = "ledger.json"
RACES = ("stale info", "cannot lock ref", "failed to update ref", "already exists", "fetch first")
"""What git says when the ref is not, or no longer, what the lease names."""


@dataclass(frozen=True)
class Entry:
    """A version that is, or was, champion.

    Attributes:
        model, version: the registered model and its version.
        candidate: student-runtime-precision.
        tag: the recorded run which holds the candidate and its judgement.
        digest: sha256 of the artifact's folder.
        gate_digest: sha256 of that run's decisions.json, the judgement that this promotion rests on.
        by: who decided.
    """

    model: str
    version: str
    candidate: str
    tag: str
    digest: str
    gate_digest: str
    by: str


@dataclass(frozen=True)
class State:
    """What the ledger says of one model.

    Attributes:
        sha: the commit it was read from; None: not from the ledger.
    """

    champion: Entry
    previous: Entry | None = None
    sha: str | None = None


@dataclass(frozen=True)
class Change:
    """One commit of the ledger: when (ISO 8601) and what, who included."""

    sha: str
    date: str
    message: str


@dataclass(frozen=True)
class Ledger:
    """The ledger of one registered model in the git repository `origin`."""

    origin: str
    model: str

    @property
    def ref(self) -> str:
        return f"refs/alambique/{self.model}"

    def read(self) -> State | None:
        """The present state; None before the first promotion.

        Raises:
            TransientError: origin is out of reach.
        """
        with self._checked_out() as (folder, sha):
            if sha is None:
                return None
            content: dict[str, Any] = read_json(folder / LEDGER)
        previous = content["previous"]
        return State(Entry(**content["champion"]), Entry(**previous) if previous else None, sha)

    def move(self, new: State, expected: str | None, message: str) -> State:
        """Make `new` the present state, if the ledger is still at the commit `expected` (None: does not exist yet).

        Returns:
            `new` with its commit.
        Raises:
            ConflictError: somebody else moved the ledger since it was read.
            TransientError: origin is out of reach.
        """
        with self._checked_out() as (folder, sha):
            if sha != expected:
                raise self._conflict(expected)
            previous = asdict(new.previous) if new.previous else None
            write_json(folder / LEDGER, {"schema": 1, "champion": asdict(new.champion), "previous": previous})
            git("add", LEDGER, cwd=folder)
            git("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", message, cwd=folder)
            lease = f"--force-with-lease={self.ref}:{expected or ''}"
            try:
                git("push", "--quiet", lease, self.origin, f"HEAD:{self.ref}", cwd=folder)
            except TransientError:
                raise
            except AlambiqueError as error:
                if any(words in str(error) for words in RACES):
                    raise self._conflict(expected) from error
                raise
            return State(new.champion, new.previous, git("rev-parse", "HEAD", cwd=folder))

    def history(self) -> list[Change]:
        """Every change, newest first."""
        with self._checked_out() as (folder, sha):
            if sha is None:
                return []
            lines = git("log", "--format=%H%x09%cI%x09%s", cwd=folder).splitlines()
        return [Change(*line.split("\t", 2)) for line in lines]

    @contextmanager
    def _checked_out(self) -> Iterator[tuple[Path, str | None]]:
        """A throw-away repository with the ref checked out, and its commit; both empty before the first promotion."""
        with tempfile.TemporaryDirectory(prefix="alambique-ledger-") as name:
            folder = Path(name)
            git("init", "--quiet", cwd=folder)
            if not git("ls-remote", self.origin, self.ref, cwd=folder):
                yield folder, None
                return
            git("fetch", "--quiet", self.origin, self.ref, cwd=folder)
            git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=folder)
            yield folder, git("rev-parse", "HEAD", cwd=folder)

    def _conflict(self, expected: str | None) -> ConflictError:
        return ConflictError(
            f"the champion of {self.model} was moved by somebody else (its ledger is no longer at "
            f"{(expected or 'nothing')[:12]}); look at who is champion now, and decide again"
        )
