"""The ledger: each registered model's champion and previous champion, with who decided it and why.

It is `ledger.json` in a git ref of the project's origin, `refs/alambique/<model>`. A promotion is a commit that the ref
moves to by compare-and-swap (`git push --force-with-lease`), which MLflow's aliases do not have; the ref's history is
the audit trail. Reading it needs git alone: no MLflow, no clone of the project.

To add a column, add an attribute to `Entry`, with a default: entries of older commits lack it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alambique.config import describe
from alambique.errors import AlambiqueError, ConflictError, IntegrityError, TransientError
from alambique.files import read_json, write_json
from alambique.git import fetched, git

LEDGER = "ledger.json"
SCHEMA = 1
REFUSED = ("hook declined", "protected branch")
"""Words of a server that was asked and said no, whatever its reasons are."""
RACES = ("stale info", "cannot lock ref", "failed to update ref", "already exists", "fetch first")
"""Git's messages when the ref is not, or no longer, at the commit that the lease names."""


class Entry(BaseModel):
    """One row of the ledger: a version that is, or was, champion.

    Attributes:
        model, version: the registered model and its version.
        candidate: student-runtime-precision.
        tag: git tag of the recorded run that holds the candidate and its gate report.
        digest: SHA-256 of the artifact's folder without its card, see `layout.artifact_digest`.
        gate_digest: SHA-256 of that run's decisions.json, the gate report that the promotion rests on.
        by: who decided.
        why: the reason they gave.
        card: SHA-256 of its card, which says how to use it: classes, input, thresholds.
        action: how it became champion: promoted, or restored by a rollback; "deed" in ledger.json.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str
    version: str
    candidate: str
    tag: str
    digest: str
    gate_digest: str
    by: str
    why: str = ""  # entries of older commits have none of these
    card: str = ""
    action: Literal["promoted", "restored"] = Field(default="promoted", alias="deed")


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
            IntegrityError: it is none, or of another version of Alambique.
            TransientError: origin is out of reach.
        """
        with fetched(self.origin, self.ref) as (folder, sha):
            if sha is None:
                return None
            champion, previous = self._entries(folder / LEDGER)
            return State(champion, previous, sha, _date(folder))

    def _entries(self, path: Path) -> tuple[Entry, Entry | None]:
        """Champion and previous of a ledger.json; an IntegrityError if it is none, or of another version."""
        try:
            content: dict[str, Any] = read_json(path)
            if (schema := content["schema"]) != SCHEMA:
                raise ValueError(f"it is of schema {schema}, and this version of alambique reads {SCHEMA}")
            previous = content["previous"]
            return Entry.model_validate(content["champion"]), Entry.model_validate(previous) if previous else None
        except (OSError, KeyError, TypeError, ValueError, AttributeError, IntegrityError) as error:
            words = (
                describe(error, LEDGER) if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
            )
            raise IntegrityError(
                f"the ledger {self.ref} of {self.origin} cannot be read: {words}; install the version that wrote it, "
                "or move the ref back to its last good commit"
            ) from None

    def move(self, new: State, expected: str | None, message: str) -> State:
        """Write `new`, if the ledger is still at the commit `expected` (None: it does not exist yet).

        The new champion's `why` becomes the body of the commit message.

        Returns:
            `new` with its commit.
        Raises:
            ConflictError: somebody else moved the ledger since it was read.
            TransientError: origin is out of reach.
        """
        with fetched(self.origin, self.ref) as (folder, sha):
            if sha != expected:
                raise self._conflict(expected)
            entries = {"champion": new.champion, "previous": new.previous}
            content = {name: entry and entry.model_dump(by_alias=True) for name, entry in entries.items()}
            write_json(folder / LEDGER, {"schema": SCHEMA, **content})
            git("add", LEDGER, cwd=folder)
            words = ("--message", message, "--message", new.champion.why)
            git("-c", "commit.gpgsign=false", "commit", "--quiet", *words, cwd=folder)
            lease = f"--force-with-lease={self.ref}:{expected or ''}"
            try:
                git("push", "--quiet", lease, "--", self.origin, f"HEAD:{self.ref}", cwd=folder)
            except TransientError:
                raise
            except AlambiqueError as error:
                if any(words in str(error) for words in RACES) and not any(word in str(error) for word in REFUSED):
                    raise self._conflict(expected) from error
                raise
            return State(new.champion, new.previous, git("rev-parse", "HEAD", cwd=folder), _date(folder))

    def commits(self) -> list[str]:
        """The commit of every change, oldest first."""
        with fetched(self.origin, self.ref) as (folder, sha):
            return git("log", "--reverse", "--format=%H", cwd=folder).split() if sha else []

    def _conflict(self, expected: str | None) -> ConflictError:
        return ConflictError(
            f"the champion of {self.model} was moved by somebody else (its ledger is no longer at "
            f"{(expected or 'nothing')[:12]}); look at who is champion now, and decide again"
        )


def _date(folder: Path) -> str:
    seconds = int(git("log", "-1", "--format=%ct", cwd=folder))
    return datetime.fromtimestamp(seconds, UTC).isoformat()
