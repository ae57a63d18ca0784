"""Update a device's model to the published champion: `python -m alambique.pull s3://bucket/prefix/MODEL TARGET`.

Needs boto3, on Linux or macOS, and no other file of Alambique. The format of what it reads is described in
`alambique.registry.publishing`.

TARGET is a symbolic link to one of the releases in a folder beside it:

    detector -> .detector.releases/<release>
    .detector.releases/
        <release>/         model.onnx, card.json, … and, written last, manifest.json
        <previous>/        kept until the next change: a reader may have it open, and a rollback needs no download

Every file is checked by size and sha256 and is on disk before its release is linked, and one rename replaces the link.
So TARGET leads to one complete release at every moment, wherever this process is killed; the next pull continues with
the files that are there. A reader of several files follows the link once, `folder = os.path.realpath("detector")`, and
reads there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SCHEMA = 1
POINTER, MANIFEST = "champion.json", "manifest.json"
SMALL = 2**20
"""Largest size of a pointer or manifest, bytes."""


class PullError(Exception):
    """The published files, or those on the device, cannot be used; the message says why."""


class File(NamedTuple):
    """A file of a release: its path in there, bytes, and sha256."""

    name: str
    size: int
    sha256: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Pull once, and print one line: the release at TARGET, or why it stays as it was, and then the exit code is 1."""
    parser = argparse.ArgumentParser(prog="alambique pull", description="Bring the published champion to this device.")
    parser.add_argument("url", metavar="URL", help="s3://bucket/prefix/MODEL")
    parser.add_argument("target", metavar="TARGET", help="the link that leads to the model's folder")
    options = parser.parse_args(arguments)
    try:
        line = pull(options.url, Path(options.target))
    except (PullError, Boto3Error, BotoCoreError, ClientError, OSError, ValueError) as error:
        sys.stderr.write(f"{options.target} stays as it was: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write(f"{line}\n")
    return 0


def pull(url: str, target: Path) -> str:
    """Make `target` a link to the release that the pointer at `url` names; returns one line about it.

    Raises:
        PullError: there is no usable release, or `target` is not a link of an earlier pull.
        BotoCoreError, ClientError, Boto3Error, OSError: S3 or the disk failed.
        ValueError: the endpoint of S3 is no URL.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would follow the link
    releases = target.parent / f".{target.name}.releases"
    _linked(target, releases)  # before anything is made
    source = _Source(url)
    releases.mkdir(parents=True, exist_ok=True)
    with (releases / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one pull at a time; the kernel releases the lock of a killed process
        before, pointer = _linked(target, releases), source.pointer()
        release: str = pointer["manifest"]
        _remove(releases.glob("partial*"))  # of a pull that was killed
        fetched = _complete(releases, release, source)
        if release != before:
            _link(target, releases / release)
            _remove(path for path in releases.iterdir() if path.is_dir() and path.name not in {release, before})
    what = f"{pointer['model']} version {pointer['version']} ({pointer['candidate']} of {pointer['tag']})"
    return f"{target}: {what}, {f'{fetched} bytes fetched' if release != before or fetched else 'as before'}"


class _Source:
    """A model's folder on S3."""

    def __init__(self, url: str) -> None:
        match = re.fullmatch(r"s3://([^/]+)/(.+?)/*", url)
        if match is None:
            raise PullError(f"{url!r} is not s3://bucket/prefix/MODEL")
        self.url = url.rstrip("/")
        self.bucket, self.prefix = match.groups()
        self.s3 = boto3.client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))

    def pointer(self) -> dict[str, Any]:
        """The content of champion.json; checked as far as it is used here."""
        content = self._json(self._small(POINTER), POINTER)
        known = all(isinstance(content.get(key), str) for key in ("model", "version", "candidate", "tag"))
        if not known or not _is_digest(content.get("manifest")):
            raise PullError(f"{self.url}/{POINTER} names no release: publish again")
        return content

    def manifest(self, release: str) -> bytes:
        """The manifest of a release, which is named by its digest."""
        content = self._small(f"{release}/{MANIFEST}")
        if hashlib.sha256(content).hexdigest() != release:
            place = f"{self.url}/{release}/{MANIFEST}"
            raise PullError(f"{place} is not the one that was published: remove it and publish again")
        return content

    def files(self, manifest: bytes) -> list[File]:
        """The files that a manifest lists; their names are validated."""
        content = self._json(manifest, MANIFEST)
        try:
            files = [File(str(entry["name"]), int(entry["size"]), str(entry["sha256"])) for entry in content["files"]]
        except (KeyError, TypeError, ValueError):
            raise PullError(f"a manifest in {self.url} lists no files: publish again") from None
        for name in (file.name for file in files):
            if not re.fullmatch(r"[^/\\\0]+(/[^/\\\0]+)*", name) or {".", ".."} & set(name.split("/")):
                raise PullError(f"a manifest in {self.url} names the file {name!r}, which may lead out of its folder")
        if len({MANIFEST, *(file.name for file in files)}) <= len(files):
            raise PullError(f"a manifest in {self.url} names a file twice")
        return files

    def fetch(self, release: str, file: File, target: Path) -> None:
        """Download a file, which is checked by the caller, to `target`."""
        try:
            self.s3.download_file(self.bucket, f"{self.prefix}/{release}/{file.name}", str(target))
        except ClientError as error:
            raise self._readable(error, f"{release}/{file.name}") from error

    def _small(self, name: str) -> bytes:
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")["Body"]
        except ClientError as error:
            raise self._readable(error, name) from error
        content: bytes = body.read(SMALL + 1)
        if len(content) > SMALL:
            raise PullError(f"{self.url}/{name} is larger than {SMALL} bytes")
        return content

    def _json(self, content: bytes, name: str) -> dict[str, Any]:
        try:
            parsed = json.loads(content)
        except ValueError:
            raise PullError(f"a {name} in {self.url} is no JSON: publish again") from None
        if not isinstance(parsed, dict) or parsed.get("schema") != SCHEMA:
            raise PullError(f"a {name} in {self.url} is not of schema {SCHEMA}: this pull is of another version")
        return parsed

    def _readable(self, error: ClientError, name: str) -> Exception:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return PullError(f"there is no {self.url}/{name}: nothing was published there, or it was removed")
        return PullError(f"{self.url}/{name} cannot be had: {error}")


def _complete(releases: Path, release: str, source: _Source) -> int:
    """Complete the folder of a release; returns the number of bytes downloaded, without the manifest."""
    folder, partial, fetched = releases / release, releases / "partial", 0
    known = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else b""
    manifest = known if hashlib.sha256(known).hexdigest() == release else source.manifest(release)
    on_device = sorted(releases.glob("*/**/*"))  # of all releases: an equal file is copied instead of downloaded
    for file in source.files(manifest):
        if _is(folder / file.name, file):
            continue
        if same := next((path for path in on_device if _is(path, file)), None):
            shutil.copyfile(same, partial)
        else:
            source.fetch(release, file, partial)
            fetched += file.size
        _check(partial, file, f"{source.url}/{release}/{file.name}")
        _put(partial, folder / file.name)
    if manifest != known:
        partial.write_bytes(manifest)
        _put(partial, folder / MANIFEST)
    return fetched


def _is(path: Path, file: File) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _check(path: Path, file: File, origin: str) -> None:
    size, digest = path.stat().st_size, _sha256(path)
    if (size, digest) != (file.size, file.sha256):
        raise PullError(
            f"{origin} has {size} bytes of sha256 {digest[:12]}, but its manifest promises {file.size} of "
            f"{file.sha256[:12]}: remove it and publish again"
        )


def _put(source: Path, target: Path) -> None:
    """Move a file into a release, synced to disk."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    _sync(target.parent)


def _linked(target: Path, releases: Path) -> str | None:
    """The release that `target` leads to; None before the first pull, a PullError if something else is there."""
    if not target.name:
        raise PullError(f"{target} cannot be a link; name one in a folder")
    if target.is_symlink():
        folder, _, release = str(target.readlink()).rpartition("/")
        if folder == releases.name and _is_digest(release):
            return release
    elif not target.exists():
        return None
    raise PullError(f"{target} is not a link that an earlier pull made; remove it, or choose another name")


def _link(target: Path, folder: Path) -> None:
    """Replace the link `target` by one to `folder`, by one rename."""
    for path in (folder, folder.parent):
        _sync(path)
    link = folder.parent / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(f"{folder.parent.name}/{folder.name}")
    link.replace(target)
    _sync(target.parent)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # a rest is harmless, and the next change removes it
        else:
            path.unlink()


def _sync(folder: Path) -> None:
    """Write a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(SMALL):
            digest.update(block)
    return digest.hexdigest()


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


if __name__ == "__main__":
    sys.exit(main())
