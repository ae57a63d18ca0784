"""Results by key: `locks/<key>.json` on the DVC remote, beside the content they name, each written once."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from alambique.errors import IntegrityError
from alambique.files import LONGEST_REASON, create_bytes, write_bytes
from alambique.messages import LockEntry
from alambique.pipeline import authentication
from alambique.pipeline.graph import canonical
from alambique.pipeline.keys import Inputs
from alambique.pipeline.transfer import reaching

if TYPE_CHECKING:
    from dvc.repo import Repo


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """The entries on a DVC remote.

    Attributes:
        filesystem: of the DVC remote, as DVC configured it, credentials included.
        folder: path of the entries on it.
    """

    filesystem: Any
    folder: str

    @classmethod
    def of(cls, repo: Repo) -> Self:
        """Those on the default remote of `repo`."""
        remote = repo.cloud.get_remote()
        return cls(remote.fs, remote.fs.join(remote.path, "locks"))

    def get(self, inputs: Inputs) -> LockEntry | None:
        """The entry of an earlier run with the same inputs, if any; with a key, only of who has the same key.

        Raises:
            IntegrityError: there is one, but it cannot be the result of these inputs.
            TransientError: the remote is out of reach.
        """
        path = self._path(inputs.key)
        try:
            with reaching(self.folder):
                content = self.filesystem.fs.cat_file(path)
        except FileNotFoundError:
            return None
        entry, text, code = _parse(content, inputs, path)
        secret = authentication.secret()
        if secret and not authentication.matches(_code(secret, inputs, text), code):
            log.warning("the lock entry %s was not written with this deployment's key; its stage runs", path)
            return None
        return entry

    def put(self, inputs: Inputs, stage: str, entry: LockEntry) -> LockEntry:
        """Keep `entry` unless the key has one: the first stays.

        Returns:
            the entry that the store holds now.
        Raises:
            IntegrityError: the key has one, but it cannot be the result of these inputs.
            TransientError: the remote is out of reach.
        """
        path = self._path(inputs.key)
        secret = authentication.secret()
        code = {"code": _code(secret, inputs, canonical(entry))} if secret else {}
        named = {"key": inputs.key, "stage": stage, "entry": entry, **code}
        content = json.dumps(named, indent=2, sort_keys=True).encode()
        try:
            with reaching(self.folder):
                self._create(path, content)
        except FileExistsError:
            if present := self.get(inputs):
                return present
            with reaching(self.folder):
                self._replace(path, content)
        return entry

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key}.json"

    def _create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist yet, whole or not at all, or raise FileExistsError."""
        if self.filesystem.protocol == "local":
            create_bytes(Path(path), content)
            return
        try:
            self.filesystem.fs.pipe_file(path, content, mode="create")  # on S3, a put with If-None-Match: *
        except OSError as error:
            # Only Amazon's own answer names the condition that failed, and s3fs knows the case by that name.
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Error", {}).get("Code") == "PreconditionFailed":
                raise FileExistsError(path) from error
            raise

    def _replace(self, path: str, content: bytes) -> None:
        """Write over an entry that is not to be believed."""
        if self.filesystem.protocol == "local":
            write_bytes(Path(path), content)
        else:
            self.filesystem.fs.pipe_file(path, content)


def _code(secret: bytes, inputs: Inputs, entry: str) -> str:
    return authentication.code(secret, f"lock {inputs.key}", entry.encode())


def _parse(content: bytes, inputs: Inputs, path: str) -> tuple[LockEntry, str, object]:
    try:
        parsed = json.loads(content)
        entry: LockEntry = parsed["entry"]
        wrong = inputs.contradiction(entry) if parsed["key"] == inputs.key else f"it is of key {parsed['key']}"
        text = canonical(entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        wrong = f"it is damaged: {type(error).__name__}: {error}"
    if wrong:
        wrong = wrong[:LONGEST_REASON]
        raise IntegrityError(f"the lock entry {path} is not what its key promises: {wrong}; delete that file and retry")
    return entry, text, parsed.get("code")
