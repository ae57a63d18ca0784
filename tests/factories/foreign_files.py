"""A valid file for each reader of bytes that others wrote, and how it is read."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image

from alambique import config, pull
from alambique.config.deployment import Deployment
from alambique.data import arrivals, dataset, manifest
from alambique.data.dataset import Dataset
from alambique.errors import AlambiqueError
from alambique.evaluation import leaderboard
from alambique.files import reading, sha256
from alambique.messages import Decisions
from alambique.pipeline import graph, locks, transfer, trees
from alambique.pipeline.dvc_repository import lock_entries
from alambique.pipeline.keys import Inputs
from alambique.registry import model_versions
from alambique.registry.ledger import Ledger
from alambique.softlabels import reader
from alambique.softlabels.schema import SHARD, Manifest
from alambique.tasks import trainer_state, weight_files
from alambique.tasks.transformers import read_texts
from factories import soft_labels


class Reader(NamedTuple):
    """A valid file, where it lies, and what reads it."""

    name: str
    valid: bytes
    read: Callable[[Path], object]
    raises: tuple[type[Exception], ...] = (AlambiqueError,)


def png(suffix: str = "png") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(out, suffix)
    return out.getvalue()


def checkpoint() -> bytes:
    out = io.BytesIO()
    torch.save({"model": torch.zeros(2), "epoch": 1}, out)
    return out.getvalue()


def state(path: Path) -> object:
    """A training's state whose digest is right: somebody else's."""
    content = path.read_bytes()
    path.write_bytes(hashlib.sha256(content).digest() + content)
    return trainer_state._read(path)


def as_json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


def text(content: Any) -> bytes:
    return yaml.safe_dump(content).encode()


ENTRY = {"cmd": "x", "deps": [{"path": "data", "md5": "d" * 32}], "outs": [{"path": "total", "md5": "1" * 32}]}
OF = Inputs(cmd="x", deps={"data": "d" * 32}, params={}, outs=("total",))
CHAMPION = dict.fromkeys(("model", "version", "candidate", "tag", "digest", "gate_digest", "by"), "x")
POINTER = {"schema": 1, "model": "m", "version": "1", "candidate": "c", "tag": "t", "digest": "d"}
FILE = {"name": "a", "size": 1, "sha256": "a" * 64}
VERSION = {"candidate": "a-onnx-fp32", "model": "m", "version": "1", "sha256": "a"}
DECIDED = {"run_id": "r", "decisions": [{"version": VERSION, "passed": True, "checks": []}], "challengers": [VERSION]}
OUTCOME = {"versions": {"a.png": "1"}, "outcome": "added", "path": "train/a.png", "sha256": "a", "reason": None}
CARD = {"candidate": "a-onnx-fp32", "digest": "d", "runtime": "onnx", "task": "detect"}


class Held:
    """A store with one object."""

    hash_name = "md5"

    def __init__(self, path: Path) -> None:
        from dvc.fs import localfs

        self.path, self.fs = str(path), localfs

    def get(self, oid: str) -> Any:
        return self


def source() -> Any:
    """A model's folder on S3, without S3."""
    made = object.__new__(pull._Source)
    made.url = "s3://bucket/m"
    return made


def pointer(path: Path) -> object:
    made = source()
    made._small = lambda _: path.read_bytes()
    return made.pointer()


def written_to(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """The reader of a folder with the file as `name`."""

    def work(path: Path) -> object:
        target = path.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        return read(path.parent)

    return work


def gate_report(path: Path) -> object:
    with reading(path):
        return Decisions.model_validate_json(path.read_bytes())


def shard() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return (soft_labels.write(Path(folder), shards=1) / "0" / SHARD).read_bytes()


def rows(path: Path) -> object:
    """A shard whose manifest has its digest and its number of rows: somebody else's."""
    made = Manifest(recipe={}, columns="", key="", shard=0, shards=1, rows=9, sha256=sha256(path), schema_version=1)
    return reader._read(path, made, soft_labels.RECIPE.layout())


def safetensors() -> bytes:
    header = as_json({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


PROJECT = Path(config.__file__).parents[3]
SETTINGS = {"origin": "/a", "home": "/b", "branch": "main", "arrivals": "s3://x/y", "tracking_uri": "sqlite:////m.db"}
DATA = {"train": "images/train", "val": "images/val", "names": {0: "red", 1: "white"}}
LABELS = b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n0 0.1 0.1 0.2 0.2 0.3 0.1\n"
TEXTS = [{"text": "hello", "label": "a"}, {"messages": [{"role": "user", "content": "x"}]}]
STAGES = {
    "stages": {"a": {"cmd": "x", "deps": [], "outs": ["o"], "params": {}, "always_changed": False}},
    "digest": "d",
}
LISTED = [{"md5": "1" * 32, "relpath": "a/b.txt"}]

READERS = [
    Reader("data.yaml", text(DATA), written_to("data.yaml", Dataset.load)),
    Reader("labels.txt", LABELS, dataset.read_boxes),
    Reader("a.png", png(), manifest.image_facts),
    Reader("a.jpg", png("jpeg"), manifest.image_facts),
    Reader("a.tiff", png("tiff"), manifest.image_facts),
    Reader("params.yaml", (PROJECT / "params.yaml").read_bytes(), lambda path: config.load(path.parent)),
    Reader("alambique.yaml", text(SETTINGS), lambda path: Deployment.load(path.parent)),
    Reader("texts.jsonl", b"\n".join(json.dumps(each).encode() for each in TEXTS), lambda p: read_texts.read(p, False)),
    Reader("texts.json", as_json(TEXTS), lambda path: read_texts.read(path, True)),
    Reader("texts.csv", b'text,label\n"a, b",x\nc,y\n', lambda path: read_texts.read(path, True)),
    Reader("dvc.lock", text({"schema": "2.0", "stages": {"a": ENTRY}}), lambda path: lock_entries(path.parent)),
    Reader("total.dvc", text({"outs": ENTRY["outs"]}), lambda p: transfer.tracked_hashes(p.parent, ["total"])),
    Reader("pipeline.json", as_json(STAGES), graph.read),
    Reader("lock.json", as_json({"key": OF.key, "entry": ENTRY}), lambda p: locks._parse(p.read_bytes(), OF, str(p))),
    Reader("list.dir", as_json(LISTED), lambda path: trees.load_tree(Held(path), "1" * 32 + ".dir")),
    Reader("ledger.json", as_json({"schema": 1, "champion": CHAMPION, "previous": None}), Ledger("/a", "m")._entries),
    Reader("decisions.json", as_json(DECIDED), gate_report),
    Reader("leaderboard.json", as_json({"schema": 6, "rows": [{"subject": "a"}]}), leaderboard.load),
    Reader("card.json", as_json(CARD), lambda path: model_versions.verified_card(path.parent)),
    Reader(
        "b.json", as_json({"source": "s", "by": "b", "files": [OUTCOME]}), written_to("arrivals/b.json", arrivals.load)
    ),
    Reader("manifest.json", as_json({"rows": 1}), lambda path: reader._read_manifest(path.parent)),
    Reader("soft_labels.arrow", shard(), rows),
    Reader("model.safetensors", safetensors(), weight_files.require_folder_file),
    Reader("weights.pt", checkpoint(), weight_files.require_network),
    Reader("state.pt", checkpoint(), state),
    Reader("champion.json", as_json({**POINTER, "manifest": "a" * 64, "sequence": 1}), pointer, (pull.PullError,)),
    Reader(
        "files.json",
        as_json({**POINTER, "files": [FILE]}),
        lambda path: source().files(path.read_bytes(), POINTER),
        (pull.PullError,),
    ),
]
