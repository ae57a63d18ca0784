from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from factories.s3 import s3_server

from alambique.errors import ConfigurationError, IntegrityError, TransientError
from alambique.messages import LockEntry
from alambique.pipeline.keys import Inputs
from alambique.pipeline.locks import Store

INPUTS = Inputs(
    cmd="make total",
    deps={"data": "d.dir", "parts": {"parts/left": "l", "parts/right": "r"}},
    params={"params.yaml": {"total": 1}},
    outs=("total",),
)


def entry(version: str = "1") -> LockEntry:
    return {
        "cmd": "make total",
        "deps": [{"path": "data", "md5": "d.dir"}, {"path": "parts", "md5": "any.dir"}],
        "params": {"params.yaml": {"total": 1}},
        "outs": [{"path": "total", "md5": version}],
    }


def local(folder: Path) -> Store:
    from dvc.fs import LocalFileSystem

    return Store(LocalFileSystem(), str(folder / "remote" / "locks"))


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")):
        yield os.environ["AWS_ENDPOINT_URL"]


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return local(tmp_path)
    from dvc_s3 import S3FileSystem

    filesystem = S3FileSystem(endpointurl=request.getfixturevalue("endpoint"))
    return Store(filesystem, f"bucket/{tmp_path.name}/locks")


def test_an_unknown_key_has_no_entry(store: Store) -> None:
    assert store.get(INPUTS) is None


def test_an_entry_is_found_by_its_inputs(store: Store) -> None:
    assert store.put(INPUTS, "total", entry()) == entry()
    assert store.get(INPUTS) == entry()


def test_the_first_entry_of_a_key_stays(store: Store) -> None:
    store.put(INPUTS, "total", entry("1"))
    assert store.put(INPUTS, "total", entry("2")) == entry("1")
    assert store.get(INPUTS) == entry("1")


def test_of_many_writers_at_once_one_wins_and_all_learn_which(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda i: store.put(INPUTS, "total", entry(str(i))), range(16)))
    assert all(item == store.get(INPUTS) for item in told)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "null",
        json.dumps({"key": INPUTS.key}),
        json.dumps({"key": "0" * 64, "entry": entry()}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "cmd": "other"}}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "outs": []}}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "outs": [{"path": "total"}]}}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "params": {}}}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "deps": [{"path": "data", "md5": "e.dir"}]}}),
        json.dumps({"key": INPUTS.key, "entry": {**entry(), "deps": "data"}}),
    ],
)
def test_a_corrupt_entry_names_the_file_to_delete(tmp_path: Path, content: str) -> None:
    store = local(tmp_path)
    path = Path(store.folder) / f"{INPUTS.key}.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    for attempt in (lambda: store.get(INPUTS), lambda: store.put(INPUTS, "total", entry())):
        with pytest.raises(IntegrityError, match=f"{path}.*delete that file"):
            attempt()


def test_a_writer_leaves_no_other_file(tmp_path: Path) -> None:
    store = local(tmp_path)
    store.put(INPUTS, "total", entry("1"))
    store.put(INPUTS, "total", entry("2"))
    assert [path.name for path in Path(store.folder).iterdir()] == [f"{INPUTS.key}.json"]


class Down:
    """A remote that cannot be reached."""

    protocol = "s3"

    @property
    def fs(self) -> Any:
        raise ConnectionResetError("by peer")


def test_a_remote_out_of_reach_is_a_transient_error() -> None:
    with pytest.raises(TransientError, match="by peer"):
        Store(Down(), "bucket/locks").get(INPUTS)
    with pytest.raises(TransientError, match="by peer"):
        Store(Down(), "bucket/locks").put(INPUTS, "total", entry())


def test_with_a_key_only_its_own_entries_are_believed_and_others_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(INPUTS, "total", entry("1"))  # by whoever may write there
    monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "k" * 32)
    assert store.get(INPUTS) is None
    assert store.put(INPUTS, "total", entry("2")) == entry("2")
    assert store.get(INPUTS) == entry("2")
    monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "j" * 32)
    assert store.get(INPUTS) is None


def test_an_authentic_entry_with_other_outs_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "k" * 32)
    store = local(tmp_path)
    store.put(INPUTS, "total", entry("1"))
    path = Path(store.folder) / f"{INPUTS.key}.json"
    path.write_text(path.read_text().replace('"md5": "1"', '"md5": "2"'))
    assert store.get(INPUTS) is None


def test_a_short_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALAMBIQUE_LOCKS_KEY", "secret")
    with pytest.raises(ConfigurationError, match=r"fewer than 32.*openssl rand"):
        local(tmp_path).put(INPUTS, "total", entry())
