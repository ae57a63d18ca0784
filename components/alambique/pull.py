"""Update a device's model to the published champion: `python -m alambique.pull s3://bucket/prefix/MODEL TARGET`.

Needs boto3, on Linux or macOS, and no other file of Alambique. The format of what it reads is described in
`alambique.registry.publishing`.

With the publisher's public key as TARGET.pub, which needs the package cryptography, only releases are accepted whose
pointer that publisher signed. With and without it a pointer of another model, or to an earlier place in the ledger's
history than the last accepted one, is refused.

TARGET is a symbolic link to one of the releases in a folder beside it:

    detector -> .detector.releases/<release>
    .detector.releases/
        <release>/         model.onnx, card.json, … and, written last, manifest.json
        accepted.json      model and sequence of the last accepted pointer
        <previous>/        kept until the next change: a reader may have it open, and a rollback needs no download

Every size is checked before a download, every file by size and sha256, and it is on disk before its release is linked;
one rename replaces the link.
So TARGET leads to one complete release at every moment, wherever this process is killed; the next pull continues with
the files that are there. A reader of several files follows the link once, `folder = os.path.realpath("detector")`, and
reads there.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SCHEMA = 1
POINTER, MANIFEST, ACCEPTED = "champion.json", "manifest.json", "accepted.json"
SIGNATURE = "signature"
IDENTITY = ("model", "version", "candidate", "tag", "digest")
"""What a pointer and the manifest that it names both say."""
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
        sys.stderr.write(f"{options.target} stays as it was: {_printable(str(error))}\n")
        return 1
    sys.stdout.write(f"{_printable(line)}\n")
    if not (public := _public(Path(options.target))).exists():
        sys.stderr.write(f"its publisher is not known: there is no {public} to check a signature by\n")
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
        _authenticate(pointer, _public(target))
        _refuse_earlier(pointer, releases / ACCEPTED)
        release: str = pointer["manifest"]
        _remove(releases.glob("partial*"))  # of a pull that was killed
        fetched = _complete(releases, pointer, source)
        _accept(pointer, releases)
        if release != before:
            _link(target, releases / release)
            _remove(path for path in releases.iterdir() if path.is_dir() and path.name not in {release, before})
    what = f"{pointer['model']} version {pointer['version']} ({pointer['candidate']} of {pointer['tag']})"
    return f"{target}: {what}, {f'{fetched} bytes fetched' if release != before or fetched else 'as before'}"


def signed_bytes(pointer: Mapping[str, Any]) -> bytes:
    """What the signature of a pointer is over: all else that it holds, and what it is."""
    content = {name: value for name, value in pointer.items() if name != SIGNATURE}
    return b"alambique release\n" + json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _public(target: Path) -> Path:
    return target.with_name(f"{target.name}.pub")


def _authenticate(pointer: Mapping[str, Any], public: Path) -> None:
    """Refuse a pointer that the publisher with this key did not sign; without a key all are taken."""
    if not os.path.lexists(public):
        return
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        raise PullError(f"{public} asks for signatures, but {error}: run `pip install cryptography`") from None
    try:
        key = load_pem_public_key(public.read_bytes())
    except ValueError as error:
        raise PullError(f"{public} is no public key: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise PullError(f"{public} is no Ed25519 key: give the one that `alambique release-key` made")
    try:
        key.verify(base64.b64decode(str(pointer.get(SIGNATURE, "")), validate=True), signed_bytes(pointer))
    except (InvalidSignature, ValueError):
        what = "is not signed by the key" if SIGNATURE in pointer else "is not signed, as is demanded by the key"
        raise PullError(f"{POINTER} {what} in {public}: publish with that key, or find out who put it there") from None


def _refuse_earlier(pointer: Mapping[str, Any], accepted: Path) -> None:
    """Refuse a pointer from before the last accepted one: somebody put an old one back. A rollback is a later one."""
    try:
        last = json.loads(accepted.read_bytes())
        model, sequence = last["model"], int(last["sequence"])
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        raise PullError(f"{accepted} is damaged: remove it, and the next pull accepts any release") from None
    if model == pointer["model"] and pointer["sequence"] < sequence:
        raise PullError(
            f"{POINTER} is number {pointer['sequence']} of its ledger, and this device had number {sequence}: somebody "
            f"put an old one back; if the ledger itself began anew, remove {accepted}"
        )


def _accept(pointer: Mapping[str, Any], releases: Path) -> None:
    content = json.dumps({name: pointer[name] for name in ("model", "sequence")}).encode()
    if not (accepted := releases / ACCEPTED).exists() or accepted.read_bytes() != content:
        (releases / "partial").write_bytes(content)
        _put(releases / "partial", accepted)


def _printable(text: str) -> str:
    """A line of text without what steers a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


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
        sequence = content.get("sequence")
        counted = isinstance(sequence, int) and not isinstance(sequence, bool) and sequence > 0
        if not known or not counted or not _is_digest(content.get("manifest")):
            raise PullError(f"{self.url}/{POINTER} names no release: publish again")
        if content["model"] != self.url.rpartition("/")[2]:
            raise PullError(f"{self.url}/{POINTER} is of the model {content['model']!r}: somebody put it there")
        return content

    def manifest(self, release: str) -> bytes:
        """The manifest of a release, which is named by its digest."""
        content = self._small(f"{release}/{MANIFEST}")
        if hashlib.sha256(content).hexdigest() != release:
            place = f"{self.url}/{release}/{MANIFEST}"
            raise PullError(f"{place} is not the one that was published: remove it and publish again")
        return content

    def files(self, manifest: bytes, pointer: Mapping[str, Any]) -> list[File]:
        """The files that a pointer's manifest lists; their names are validated."""
        content = self._json(manifest, MANIFEST)
        if other := [name for name in IDENTITY if content.get(name) != pointer.get(name)]:
            raise PullError(f"the manifest that {self.url}/{POINTER} names has another {other[0]}: publish again")
        try:
            files = [File(str(entry["name"]), int(entry["size"]), str(entry["sha256"])) for entry in content["files"]]
        except (KeyError, TypeError, ValueError):
            raise PullError(f"a manifest in {self.url} lists no files: publish again") from None
        if any(file.size < 0 or not _is_digest(file.sha256) for file in files):
            raise PullError(f"a manifest in {self.url} lists what is no file: publish again")
        for name in (file.name for file in files):
            if not re.fullmatch(r"[^/\\\0]+(/[^/\\\0]+)*", name) or {".", ".."} & set(name.split("/")):
                raise PullError(f"a manifest in {self.url} names the file {name!r}, which may lead out of its folder")
        if len({MANIFEST, *(file.name for file in files)}) <= len(files):
            raise PullError(f"a manifest in {self.url} names a file twice")
        return files

    def fetch(self, release: str, file: File, target: Path) -> None:
        """Download a file of no other size than its own, whose content is checked by the caller, to `target`."""
        key, received = f"{self.prefix}/{release}/{file.name}", 0

        def count(bytes_received: int) -> None:  # the object may be replaced after its size was asked
            nonlocal received
            received += bytes_received
            if received > file.size:
                raise PullError(f"{self.url}/{release}/{file.name} is larger than its manifest promises")

        try:
            size = self.s3.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
            if size != file.size:
                raise PullError(
                    f"{self.url}/{release}/{file.name} has {size} bytes, but its manifest promises {file.size} of "
                    f"{file.sha256[:12]}: remove it and publish again"
                )
            self.s3.download_file(self.bucket, key, str(target), Callback=count)
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
        except (ValueError, RecursionError):
            raise PullError(f"a {name} in {self.url} is no JSON: publish again") from None
        if not isinstance(parsed, dict) or parsed.get("schema") != SCHEMA:
            raise PullError(f"a {name} in {self.url} is not of schema {SCHEMA}: this pull is of another version")
        return parsed

    def _readable(self, error: ClientError, name: str) -> Exception:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return PullError(f"there is no {self.url}/{name}: nothing was published there, or it was removed")
        return PullError(f"{self.url}/{name} cannot be had: {error}")


def _complete(releases: Path, pointer: Mapping[str, Any], source: _Source) -> int:
    """Complete the folder of the pointer's release; returns the number of bytes downloaded, without the manifest."""
    release: str = pointer["manifest"]
    folder, partial, fetched = releases / release, releases / "partial", 0
    known = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else b""
    manifest = known if hashlib.sha256(known).hexdigest() == release else source.manifest(release)
    on_device = sorted(releases.glob("*/**/*"))  # of all releases: an equal file is copied instead of downloaded
    files = source.files(manifest, pointer)
    missing = sum(file.size for file in files if not (folder / file.name).exists())
    if missing > (free := shutil.disk_usage(releases).free):
        raise PullError(f"the release at {source.url} needs {missing} bytes, and {releases} has {free}: make room")
    for file in files:
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
