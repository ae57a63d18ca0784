"""The ledger: each registered model's champion and previous champion, with who decided it and why.

It is `ledger.json` in a git ref of the project's origin, `refs/alambique/<model>`. A promotion is a commit that the ref
moves to by compare-and-swap (`git push --force-with-lease`), which MLflow's aliases do not have; the ref's history is
the audit trail. Reading it needs git alone: no MLflow, no clone of the project.

To add a column, add an attribute to `Entry`, with a default: entries of older commits lack it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from alambique.errors import AlambiqueError, ConflictError, TransientError
from alambique.files import read_json, write_json
from alambique.git import git

LEDGER = "ledger.json"
RACES = ("stale info", "cannot lock ref", "failed to update ref", "already exists", "fetch first")
"""Git's messages when the ref is not, or no longer, at the commit that the lease names."""


@dataclass(frozen=True)
class Entry:
    """One row of the ledger: a version that is, or was, champion.

    Attributes:
        model, version: the registered model and its version.
        candidate: student-runtime-precision.
        tag: git tag of the recorded run that holds the candidate and its gate report.
        digest: SHA-256 of the artifact's folder, see `layout.artifact_digest`.
        gate_digest: SHA-256 of that run's decisions.json, the gate report that the promotion rests on.
        by: who decided.
        why: the reason they gave.
        action: how it became champion: promoted, or restored by a rollback; "deed" in ledger.json.
    """

    model: str
    version: str
    candidate: str
    tag: str
    digest: str
    gate_digest: str
    by: str
    why: str = ""  # entries of older commits have neither this nor the next
    action: Literal["promoted", "restored"] = "promoted"

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The entry that `to_json` gave."""
        known = dict(content)
        if "deed" in known:
            known["action"] = known.pop("deed")
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The entry as ledger.json holds it."""
        content = asdict(self)
        content["deed"] = content.pop("action")
        return content


@dataclass(frozen=True)
class State:
    """The ledger's content for one model.

    Attributes:
        sha: the commit it was read from; None before it is written.
        at: when that commit was made, UTC, ISO 8601.
    """

    champion: Entry
    previous: Entry | None = None
    sha: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Change:
    """One commit of the ledger: its date (ISO 8601), its subject, which names who decided, and the reason."""

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
        return State(Entry.from_json(content["champion"]), Entry.from_json(previous) if previous else None, sha, at)

    def move(self, new: State, expected: str | None, message: str) -> State:
        """Write `new`, if the ledger is still at the commit `expected` (None: it does not exist yet).

        The new champion's `why` becomes the body of the commit message.

        Returns:
            `new` with its commit.
        Raises:
            ConflictError: somebody else moved the ledger since it was read.
            TransientError: origin is out of reach.
        """
        with self._checked_out() as (folder, sha):
            if sha != expected:
                raise self._conflict(expected)
            previous = new.previous.to_json() if new.previous else None
            write_json(folder / LEDGER, {"schema": 1, "champion": new.champion.to_json(), "previous": previous})
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
        changes = []
        for commit in commits:
            sha, date, words = commit.split("\t", 2)
            message, _, why = words.partition("\n")
            changes.append(Change(sha, date, message, why.strip()))
        return changes

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
