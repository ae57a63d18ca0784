"""The verb `publish`: upload champions to S3, from where devices fetch them with `alambique.pull`.

    <releases>/<model>/
        champion.json               the pointer: names the release to run; the only object that ever changes
        <release>/
            manifest.json           name, size and sha256 of every file; written last
            model.onnx, card.json … the artifact

A release is named by the SHA-256 of its manifest, so that every writer writes the same bytes. The artifact's digest is
not enough: another run may produce the same artifact with another card. The pointer moves by compare-and-swap on its
ETag, and only forward in the ledger's history, to which a rollback adds a commit, too.

champion.json
    {
      "schema": 1,
      "model": "cells-onnx", "version": "7", "candidate": "pico-onnx-int8", "tag": "runs/20260101-abc",
      "digest": "<sha256 of the artifact, as its card and the ledger say>",
      "manifest": "<the release>",
      "commit": "<the ledger's, at which this is champion>",
      "sequence": 4,                how many commits the ledger has up to there
      "signature": "<Ed25519 over all of the above, see `registry.signing`; not there without a key>"
    }
manifest.json
    {
      "schema": 1, "model", "version", "candidate", "tag", "digest",
      "gate_digest": "<sha256 of the decisions.json that the promotion rests on>",
      "files": [{"name": "card.json", "size": 1234, "sha256": "…"}, …]
    }
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alambique.config.deployment import Deployment
from alambique.data.store import S3, client, reaching
from alambique.errors import ConfigurationError, ConflictError, IntegrityError, TransientError
from alambique.files import json_text, scratch, sha256
from alambique.messages import Published, PublishRequest
from alambique.pull import MANIFEST, POINTER, SCHEMA, SMALL
from alambique.registry import run_artifacts
from alambique.registry.ledger import Entry, Ledger
from alambique.registry.signing import signed

LARGE = 64 * 2**20
"""Bytes; larger files are uploaded in parts."""
TRIES = 8
PRECONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
"""S3's error codes when an object is not, or no longer, what a conditional put expects."""


def publish(request: PublishRequest) -> Published:
    """Upload the champion of each model and set the pointer to it; releases that are there already stay.

    Raises:
        ConfigurationError: `releases` is not set, or S3 refuses.
        IntegrityError: an object of the release holds other bytes than were published.
        ConflictError: the pointer is that of another ledger.
        TransientError: S3, the origin or the DVC remote is out of reach.
    """
    releases = request.deployment.releases
    if not (releases or "").startswith(S3):
        raise ConfigurationError(
            f"releases of alambique.yaml is {releases!r}, so there is nowhere to publish to; write s3://bucket/prefix"
        )
    published = {}
    for model in request.models:
        place = _Place.at(f"{str(releases).rstrip('/')}/{model}")
        if release := _publish(place, Ledger(request.deployment.origin, model), request.deployment):
            published[model] = f"{place.url}/{release}"
    return Published(releases=published)


def _publish(place: _Place, ledger: Ledger, deployment: Deployment) -> str | None:
    """Upload the champion and move the pointer; returns the release's name, None without a champion."""
    for _ in range(TRIES):
        # The pointer first: the ledger read afterwards holds the commit that the pointer names.
        pointer = place.read(POINTER)
        state, history = ledger.read(), ledger.commits()
        if state is None:
            return None
        if pointer and (other := _commit(pointer, place)) not in history:
            raise ConflictError(
                f"{place.url}/{POINTER} was moved by another ledger than {ledger.ref} of {ledger.origin}, which has no "
                f"commit {other[:12]}; publish somewhere else, or remove it if that ledger was deleted"
            )
        release = _upload(place, state.champion, deployment)
        position = {"manifest": release, "commit": state.sha, "sequence": history.index(str(state.sha)) + 1}
        content = json_text(signed({"schema": SCHEMA, **_identity(state.champion), **position})).encode()
        condition = {"IfMatch": pointer.etag} if pointer else {"IfNoneMatch": "*"}
        if (pointer and pointer.content == content) or place.put(POINTER, content, condition):
            return release
    raise TransientError(f"{place.url}/{POINTER} was moved by others {TRIES} times while this wanted to move it; retry")


def _upload(place: _Place, entry: Entry, deployment: Deployment) -> str:
    """Put what is missing of a champion's release; returns its name."""
    with scratch(deployment.home.absolute() / "workspaces", "publish") as workspace:
        artifact = workspace / entry.candidate
        run_artifacts.fetch_artifact(entry, workspace / "none", deployment.origin, artifact)
        paths = sorted(path for path in artifact.rglob("*") if path.is_file())
        files = {path.relative_to(artifact).as_posix(): path for path in paths}
        listed = [{"name": name, "size": path.stat().st_size, "sha256": sha256(path)} for name, path in files.items()]
        content = {"schema": SCHEMA, **_identity(entry), "gate_digest": entry.gate_digest, "files": listed}
        manifest = workspace / MANIFEST
        manifest.write_text(json_text(content))
        release = sha256(manifest)
        for name, path in {**files, MANIFEST: manifest}.items():  # the manifest last
            place.create(f"{release}/{name}", path)
    return release


def _identity(entry: Entry) -> dict[str, str]:
    """The part that champion.json and manifest.json share."""
    return entry.model_dump(include={"model", "version", "candidate", "tag", "digest"})


def _commit(pointer: _Object, place: _Place) -> str:
    try:
        return str(json.loads(pointer.content)["commit"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise IntegrityError(
            f"{place.url}/{POINTER} is not what was published there; remove it and publish again"
        ) from None


class _Object(NamedTuple):
    """An object's content and its version."""

    content: bytes
    etag: str


@dataclass(frozen=True)
class _Place:
    """A model's folder on S3."""

    url: str
    bucket: str
    prefix: str
    s3: Any

    @classmethod
    def at(cls, url: str) -> _Place:
        bucket, _, prefix = url.removeprefix(S3).partition("/")
        return cls(url, bucket, prefix, client())

    def read(self, name: str) -> _Object | None:
        """A small object; None if there is none."""
        with reaching(f"{self.url}/{name}"):
            answer = self._request("get_object", name, {"NoSuchKey"})
            return None if answer is None else _Object(answer["Body"].read(SMALL + 1), answer["ETag"])

    def create(self, name: str, path: Path) -> None:
        """Upload an immutable file unless it is there; an IntegrityError if the object there has other bytes."""
        size, digest = path.stat().st_size, sha256(path)
        if self._holds(name, size, digest):
            return
        if size < LARGE:
            self.put(name, path.read_bytes(), {"IfNoneMatch": "*"})
        else:
            # boto3's upload in parts takes no condition, and needs none: equal names have equal content.
            with reaching(f"{self.url}/{name}"):
                extra = {"Metadata": {"sha256": digest}}
                self.s3.upload_file(str(path), self.bucket, f"{self.prefix}/{name}", ExtraArgs=extra)
        if not self._holds(name, size, digest):
            raise TransientError(f"{self.url}/{name} was uploaded and is not there; does somebody remove releases?")

    def put(self, name: str, content: bytes, condition: Mapping[str, str]) -> bool:
        """Upload a small object if `condition` holds; False if it does not. S3 verifies the checksum."""
        hashed = hashlib.sha256(content)
        checksums = {
            "Metadata": {"sha256": hashed.hexdigest()},
            "ChecksumSHA256": base64.b64encode(hashed.digest()).decode(),
        }
        with reaching(f"{self.url}/{name}"):
            answer = self._request("put_object", name, PRECONDITION_FAILED, Body=content, **checksums, **condition)
        return answer is not None

    def _holds(self, name: str, size: int, digest: str) -> bool:
        """Whether the file was uploaded; its SHA-256 is in the object's metadata."""
        with reaching(f"{self.url}/{name}"):
            answer = self._request("head_object", name, {"404"})  # the answer to HEAD has no body with a better code
        if answer is None:
            return False
        actual = (answer["ContentLength"], answer["Metadata"].get("sha256", "unknown"))
        if actual != (size, digest):
            raise IntegrityError(
                f"{self.url}/{name} has {actual[0]} bytes of sha256 {actual[1]}, and was published with {size} of "
                f"{digest}: somebody replaced it; remove it and publish again"
            )
        return True

    def _request(self, method: str, name: str, refusals: Set[str], **parameters: Any) -> dict[str, Any] | None:
        """S3's answer to a request about an object; None if it is one of these error codes."""
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = getattr(self.s3, method)(
                Bucket=self.bucket, Key=f"{self.prefix}/{name}", **parameters
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in refusals:
                return None
            raise
        return answer
