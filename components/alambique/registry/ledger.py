"""Who is champion, as a git ref: promotion is a commit that `refs/alambique/<model>` moves to by compare-and-swap.

MLflow's aliases have no compare-and-set, a push with a lease has. The ref lives in the project's origin, its history is
who decided what. Only git is needed to read it: no MLflow, no clone of the project.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

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
        why: what they gave as the reason.
        deed: how it became champion: promoted, or restored by a rollback.
    """

    model: str
    version: str
    candidate: str
    tag: str
    digest: str
    gate_digest: str
    by: str
    why: str = ""  # this and the next are unknown of entries from before they were kept
    deed: Literal["promoted", "restored"] = "promoted"


@dataclass(frozen=True)
class State:
    """What the ledger says of one model.

    Attributes:
        sha: the commit it was read from; None: not from the ledger.
        at: when that commit was made, UTC, ISO 8601.
    """

    champion: Entry
    previous: Entry | None = None
    sha: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Change:
    """One commit of the ledger: when (ISO 8601), what, who included, and why."""

    sha: str
    date: str
    message: str
    why: str


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
            at = _date(folder)
        previous = content["previous"]
        return State(Entry(**content["champion"]), Entry(**previous) if previous else None, sha, at)

    def move(self, new: State, expected: str | None, message: str) -> State:
        """Make `new` the present state, if the ledger is still at the commit `expected` (None: does not exist yet).

        The reason that the new champion's entry gives becomes the body of the commit's message.

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
            words = ("--message", message, "--message", new.champion.why)
            git("-c", "commit.gpgsign=false", "commit", "--quiet", *words, cwd=folder)
            lease = f"--force-with-lease={self.ref}:{expected or ''}"
            try:
                git("push", "--quiet", lease, self.origin, f"HEAD:{self.ref}", cwd=folder)
            except TransientError:
                raise
            except AlambiqueError as error:
                if any(words in str(error) for words in RACES):
                    raise self._conflict(expected) from error
                raise
            return State(new.champion, new.previous, git("rev-parse", "HEAD", cwd=folder), _date(folder))

    def history(self) -> list[Change]:
        """Every change, newest first."""
        with self._checked_out() as (folder, sha):
            if sha is None:
                return []
            commits = git("log", "-z", "--format=format:%H%x09%cI%x09%B", cwd=folder).split("\0")
        return [_change(commit) for commit in commits]

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


def _date(folder: Path) -> str:
    seconds = int(git("log", "-1", "--format=%ct", cwd=folder))
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _change(commit: str) -> Change:
    sha, date, words = commit.split("\t", 2)
    message, _, why = words.partition("\n")
    return Change(sha, date, message, why.strip())
