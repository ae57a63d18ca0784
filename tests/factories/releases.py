"""Releases on S3, written plainly as `alambique.registry.publishing` describes them: what `alambique.pull` reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "tiny-onnx"


@dataclass
class Releases:
    """A model's folder `url` in the bucket that $AWS_* lead to."""

    prefix: str

    def __post_init__(self) -> None:
        import boto3

        self.s3 = boto3.client("s3")
        self.url = f"s3://bucket/{self.prefix}"
        self.manifests: dict[str, dict[str, Any]] = {}

    def add(self, version: str, content: dict[str, bytes], /, **manifest: Any) -> str:
        """Put a release and return its name."""
        bodies = sorted(content.items())
        listed = [{"name": name, "size": len(body), "sha256": _sha256(body)} for name, body in bodies]
        known = {"model": MODEL, "version": version, "candidate": "pico-onnx-int8", "tag": f"runs/{version}"}
        said = {"schema": 1, **known, "digest": "d" * 64, "gate_digest": "e" * 64, "files": listed, **manifest}
        text = json.dumps(said).encode()
        release = _sha256(text)
        for name, body in (*bodies, ("manifest.json", text)):
            self.put(f"{release}/{name}", body)
        self.manifests[release] = said
        return release

    def point(self, release: str, **pointer: Any) -> None:
        """Let the pointer name a release."""
        known = {name: self.manifests[release][name] for name in ("model", "version", "candidate", "tag", "digest")}
        content = {"schema": 1, **known, "manifest": release, "commit": "c" * 40, "sequence": 1, **pointer}
        self.put("champion.json", json.dumps(content).encode())

    def put(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket="bucket", Key=f"{self.prefix}/{name}", Body=body)

    def get(self, name: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket="bucket", Key=f"{self.prefix}/{name}")["Body"].read()
        return content

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket="bucket", Key=f"{self.prefix}/{name}")


def whole(folder: Path) -> str:
    """The release in a folder that holds what its manifest lists, byte for byte, and nothing else.

    Raises:
        AssertionError: it doesn't.
    """
    text = (folder / "manifest.json").read_bytes()
    listed = {each["name"]: each["sha256"] for each in json.loads(text)["files"]}
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    del found["manifest.json"]
    assert {name: _sha256(path.read_bytes()) for name, path in found.items()} == listed
    assert folder.name == _sha256(text)
    return folder.name


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
