"""A device against a real S3 server."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions, requires
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from factories.releases import Releases, whole
from factories.s3 import s3_server
from packaging.requirements import Requirement

from alambique import pull
from alambique.errors import ConfigurationError
from alambique.registry import signing

LARGE = 3 * 2**20


def files(version: str, size: int = 1000) -> dict[str, bytes]:
    """A model of this version in two files that must not be mixed, and one that never changes."""
    body = version.encode() * (size // len(version))
    return {"model.xml": body, "weights/model.bin": body[::-1] + b"!", "example.py": b"print('hello')"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with s3_server(tmp_path_factory.mktemp("s3")):
        yield


@pytest.fixture
def releases(server: None, tmp_path: Path) -> Releases:
    return Releases(f"{tmp_path.name}/tiny-onnx")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "device" / "detector"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pulls read from S3, by the end of each key."""
    seen: list[str] = []
    make = pull.boto3.client

    def client(*arguments: Any, **options: Any) -> Any:
        made = make(*arguments, **options)
        made.meta.events.register(
            "provide-client-params.s3", lambda params, **_: seen.append(params["Key"].rpartition("/")[2])
        )
        return made

    monkeypatch.setattr(pull.boto3, "client", client)
    return seen


def refused(releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Why a pull changes nothing, which it says in one line."""
    before = target.resolve() if target.is_symlink() else None
    capsys.readouterr()
    assert pull.main([releases.url, str(target)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    if before:
        assert target.resolve() == before
        whole(before)
    return said.err


def test_a_device_gets_the_release_that_the_pointer_names(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = releases.add("1", files("1"))
    releases.add("2", files("2"))
    releases.point(first)
    assert pull.main([releases.url, str(target)]) == 0
    assert whole(target.resolve()) == first
    said = capsys.readouterr().out
    assert said == f"{target}: tiny-onnx version 1 (pico-onnx-int8 of runs/1), 2015 bytes fetched\n"
    assert [path.name for path in target.parent.iterdir() if not path.name.startswith(".")] == ["detector"]


def test_nothing_new_costs_one_small_request(
    releases: Releases, target: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    releases.point(releases.add("1", files("1")))
    pull.main([releases.url, str(target)])
    asked.clear()
    assert pull.main([f"{releases.url}/", str(target)]) == 0
    assert asked == ["champion.json"]
    assert capsys.readouterr().out.endswith("as before\n")


def test_only_what_is_new_is_fetched_and_going_back_fetches_nothing(
    releases: Releases, target: Path, asked: list[str]
) -> None:
    first, second, third = (releases.add(version, files(version)) for version in "123")
    for release in (first, second):
        releases.point(release)
        asked.clear()
        pull.main([releases.url, str(target)])
    assert set(asked) == {"champion.json", "manifest.json", "model.xml", "model.bin"}
    releases.point(first)
    asked.clear()
    pull.main([releases.url, str(target)])
    assert asked == ["champion.json"]
    assert whole(target.resolve()) == first
    releases.point(third)
    pull.main([releases.url, str(target)])
    kept = {path.name for path in (target.parent / ".detector.releases").iterdir() if path.is_dir()}
    assert kept == {first, third}


def test_a_file_that_was_damaged_on_the_device_is_mended(releases: Releases, target: Path, asked: list[str]) -> None:
    releases.point(releases.add("1", files("1")))
    pull.main([releases.url, str(target)])
    (target / "model.xml").write_bytes(b"x" * 1000)
    asked.clear()
    assert pull.main([releases.url, str(target)]) == 0
    assert set(asked) == {"champion.json", "model.xml"}
    whole(target.resolve())


@pytest.mark.parametrize("content", [b"2" * 999, b"2" * 999 + b"x", b""], ids=["truncated", "changed", "empty"])
def test_other_bytes_than_were_published_are_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    releases.point(releases.add("1", files("1")))
    pull.main([releases.url, str(target)])
    second = releases.add("2", files("2"))
    releases.put(f"{second}/model.xml", content)
    releases.point(second)
    assert "its manifest promises 1000 of" in refused(releases, target, capsys)
    releases.put(f"{second}/model.xml", files("2")["model.xml"])
    assert pull.main([releases.url, str(target)]) == 0
    assert whole(target.resolve()) == second


def test_a_changed_manifest_is_refused(releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = releases.add("1", files("1"))
    releases.point(release)
    releases.put(f"{release}/manifest.json", json.dumps({"schema": 1, "files": []}).encode())
    assert "is not the one that was published" in refused(releases, target, capsys)
    assert not target.is_symlink()


def test_a_release_that_was_removed_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = releases.add("1", files("1"))
    releases.point(release)
    releases.delete(f"{release}/model.xml")
    assert "model.xml: nothing was published there, or it was removed" in refused(releases, target, capsys)


@pytest.mark.parametrize(
    "name", ["../model.xml", "/etc/model.xml", "a/../../b", "a\\..\\b", "", ".", "a//b", "a/", "manifest.json", "a\0b"]
)
def test_a_name_that_leads_elsewhere_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    listed = [{"name": name, "size": 1, "sha256": "0" * 64}]
    releases.point(releases.add("1", {}, files=listed))
    assert "a manifest in" in refused(releases, target, capsys)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON"),
        (b"[]", "another version"),
        (b'{"schema": 2}', "another version"),
        (b'{"schema": 1, "manifest": "../../secret"}', "names no release"),
        (b" " * (2**20 + 1), "is larger than"),
    ],
)
def test_a_pointer_that_makes_no_sense_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    releases.put("champion.json", content)
    assert words in refused(releases, target, capsys)


def test_where_nothing_is_published_it_says_so(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"there is no {releases.url}/champion.json" in refused(releases, target, capsys)


@pytest.mark.parametrize("url", ["s3://bucket", "https://bucket/tiny-onnx", "tiny-onnx"])
def test_another_kind_of_url_is_refused(target: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert pull.main([url, str(target)]) == 1
    assert "is not s3://bucket/prefix/MODEL" in capsys.readouterr().err


def test_a_server_out_of_reach_is_one_line(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.point(releases.add("1", files("1")))
    pull.main([releases.url, str(target)])
    for endpoint, words in (("http://127.0.0.1:9", "Could not connect"), ("127.0.0.1", "Invalid endpoint")):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert words in refused(releases, target, capsys)


def test_what_pull_did_not_make_is_left_alone(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    releases.point(releases.add("1", files("1")))
    target.parent.mkdir()
    target.write_text("mine")
    assert "is not a link that an earlier pull made" in refused(releases, target, capsys)
    target.unlink()
    target.symlink_to(tmp_path)
    assert pull.main([releases.url, str(target)]) == 1
    assert target.readlink() == tmp_path


def test_one_file_on_a_device_is_enough(releases: Releases, target: Path, tmp_path: Path) -> None:
    releases.point(releases.add("1", files("1")))
    alone = tmp_path / "fetch_model.py"
    shutil.copy(pull.__file__, alone)
    code = (
        "import runpy, sys; before = set(sys.modules); sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    command = [sys.executable, "-I", "-c", code, str(alone), releases.url, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    said, imported = done.stdout.splitlines()
    assert said.startswith(f"{target}: tiny-onnx version 1")
    origins = packages_distributions()
    third_party = {name for name in imported.split() if name not in sys.stdlib_module_names and name in origins}
    assert "boto3" in third_party
    allowed = dependencies("boto3") | {"certifi"}  # which botocore takes where it is
    assert third_party <= {name for name in origins if set(origins[name]) & allowed}
    whole(target.resolve())


def dependencies(package: str) -> set[str]:
    """A package and what it needs, by the names on the index."""
    found = {package}
    for requirement in map(Requirement, requires(package) or ()):
        if "extra" not in str(requirement.marker or ""):
            found |= dependencies(requirement.name)
    return found


def test_neither_a_device_nor_its_reader_ever_sees_a_mixture(releases: Releases, target: Path) -> None:
    """Releases alternate while one thread pulls without a pause and another follows the link at random moments."""
    both = [releases.add(version, files(version, LARGE)) for version in "12"]
    releases.point(both[0])
    assert pull.main([releases.url, str(target)]) == 0
    ended = Event()

    def device() -> list[str]:
        seen = []
        while not ended.is_set():
            assert pull.main([releases.url, str(target)]) == 0
            seen.append(whole(target.resolve()))
        return seen

    def reader() -> list[str]:
        chance, seen = random.Random(0), []
        while not ended.is_set():
            time.sleep(chance.uniform(0, 0.02))
            seen.append(whole(target.resolve()))
        return seen

    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(device), pool.submit(reader)]
        for turn in range(20):
            newest = both[1 - turn % 2]
            releases.point(newest)
            arrived = until(lambda name=newest: target.resolve().name == name)  # type: ignore[misc]
            if not arrived:
                break
        ended.set()
        pulled, read = (each.result() for each in watching)
    assert arrived
    assert set(read) == set(both)
    assert sum(one != two for one, two in pairwise(pulled)) >= 19


def until(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    return done()


def killed(releases: Releases, target: Path, seconds: float) -> int:
    """Pull in a process that is killed after this time; its exit code."""
    command = [sys.executable, "-I", pull.__file__, releases.url, str(target)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait()


def test_a_pull_that_is_killed_at_any_moment_leaves_a_whole_release(releases: Releases, target: Path) -> None:
    releases.point(releases.add("0", files("0", LARGE)))
    begun = time.monotonic()
    assert killed(releases, target, 60) == 0
    takes = time.monotonic() - begun
    chance, codes = random.Random(1), []
    for turn in range(1, 13):
        newest = releases.add(str(turn), files(str(turn), LARGE))
        releases.point(newest)
        codes.append(killed(releases, target, chance.uniform(0.4, 1.1) * takes))
        whole(target.resolve())
    assert -signal.SIGKILL in codes
    assert killed(releases, target, 60) == 0
    assert whole(target.resolve()) == newest


STEPS = """
import os, sys, pathlib, shutil
sys.path.insert(0, sys.argv[1])
import pull
left = int(sys.argv[2])

def dying(owner, name):
    work = getattr(owner, name)
    def step(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return work(*arguments, **options)
    setattr(owner, name, step)

for owner, name in ((os, "fsync"), (pathlib.Path, "replace"), (pathlib.Path, "symlink_to"), (pathlib.Path, "mkdir"),
                    (shutil, "copyfile"), (shutil, "rmtree"), (pathlib.Path, "write_bytes"), (pathlib.Path, "unlink")):
    dying(owner, name)
sys.exit(pull.main(sys.argv[3:]))
"""
"""A pull that dies before the step on disk of this number."""


def test_a_pull_that_dies_before_any_of_its_steps_is_mended_by_the_next(releases: Releases, target: Path) -> None:
    first, second, third = (releases.add(version, files(version)) for version in "123")
    for release in (first, second):
        releases.point(release)
        pull.main([releases.url, str(target)])
    releases.point(third)
    kept, seen, step = target.parent.with_name("kept"), set(), 0
    shutil.copytree(target.parent, kept, symlinks=True)
    while True:
        folder = target.parent.with_name(f"device{step}")
        shutil.copytree(kept, folder, symlinks=True)
        arguments = [str(Path(pull.__file__).parent), str(step), releases.url, str(folder / "detector")]
        code = subprocess.run(
            [sys.executable, "-I", "-c", STEPS, *arguments], check=False, capture_output=True
        ).returncode
        seen.add(whole((folder / "detector").resolve()))
        if code == 0:
            break
        assert code == 9
        assert pull.main([releases.url, str(folder / "detector")]) == 0
        assert whole((folder / "detector").resolve()) == third
        step += 1
    assert step > 10
    assert seen == {second, third}


def test_pulls_at_the_same_time_wait_for_each_other(releases: Releases, target: Path) -> None:
    releases.point(releases.add("1", files("1", LARGE)))
    command = [sys.executable, "-I", pull.__file__, releases.url, str(target)]
    pulls = [subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[0].rpartition(", ")[2].strip() for process in pulls]
    assert [process.returncode for process in pulls] == [0] * 4
    assert sorted(said) == [f"{2 * LARGE + 15} bytes fetched", *["as before"] * 3]
    whole(target.resolve())


Sign = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def sign(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sign:
    """Pins a publisher's key beside the device's link, and signs pointers with it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(signing.create(tmp_path / "releases.key"), pull._public(target))
    monkeypatch.setenv(signing.VARIABLE, str(tmp_path / "releases.key"))
    return signing.signed


def test_a_device_with_a_publishers_key_takes_only_what_that_publisher_signed(
    releases: Releases, target: Path, sign: Sign, capsys: pytest.CaptureFixture[str]
) -> None:
    good, evil = releases.add("1", files("1")), releases.add("2", files("2"))
    releases.point(good)
    assert "is not signed" in refused(releases, target, capsys)
    pointer = json.loads(releases.get("champion.json"))
    releases.put("champion.json", json.dumps(sign(pointer)).encode())
    assert pull.main([releases.url, str(target)]) == 0
    assert capsys.readouterr().err == ""
    for forged in ({"manifest": evil}, {"sequence": 2}, {"tag": "runs/9"}, {"extra": 1}, {"signature": "AAAA"}):
        releases.put("champion.json", json.dumps({**sign(pointer), **forged}).encode())
        assert "is not signed" in refused(releases, target, capsys)


def test_another_publishers_key_is_refused(
    releases: Releases,
    target: Path,
    sign: Sign,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    releases.point(releases.add("1", files("1")))
    pointer = json.loads(releases.get("champion.json"))
    signing.create(tmp_path / "other.key")
    monkeypatch.setenv(signing.VARIABLE, str(tmp_path / "other.key"))
    releases.put("champion.json", json.dumps(sign(pointer)).encode())
    capsys.readouterr()
    assert pull.main([releases.url, str(target)]) == 1
    assert "is not signed" in capsys.readouterr().err
    pull._public(target).write_bytes(b"no key")
    assert "is no public key" in refused(releases, target, capsys)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    public = signing.create(tmp_path / "releases.key")
    before = public.read_bytes()
    assert (tmp_path / "releases.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="there already"):
        signing.create(tmp_path / "releases.key")
    assert public.read_bytes() == before


def test_without_a_publishers_key_a_line_says_so(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.point(releases.add("1", files("1")))
    assert pull.main([releases.url, str(target)]) == 0
    assert "there is no" in (err := capsys.readouterr().err) and err.count("\n") == 1


def test_an_earlier_pointer_is_refused_and_a_rollback_is_a_later_one(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = releases.add("1", files("1")), releases.add("2", files("2"))
    for release, sequence in ((first, 1), (second, 2)):
        releases.point(release, sequence=sequence)
        assert pull.main([releases.url, str(target)]) == 0
    releases.point(first, sequence=1)
    assert "put an old one back" in refused(releases, target, capsys)
    releases.point(first, sequence=3)
    assert pull.main([releases.url, str(target)]) == 0


@pytest.mark.parametrize("said", [{"model": "other-onnx"}, {"sequence": 0}, {"sequence": "9"}, {"sequence": True}])
def test_a_pointer_of_another_model_or_without_a_place_in_the_ledger_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], said: dict[str, Any]
) -> None:
    releases.point(releases.add("1", files("1")), **said)
    refused(releases, target, capsys)


def test_a_manifest_of_another_version_than_the_pointers_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.point(releases.add("1", files("1")), version="2")
    assert "another version" in refused(releases, target, capsys)


def test_an_object_of_another_size_is_not_downloaded(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = releases.add("1", {"model.xml": b"1" * 1000})
    releases.point(release)
    releases.put(f"{release}/model.xml", b"x" * 100_000)
    monkeypatch.setattr("boto3.s3.transfer.S3Transfer.download_file", lambda *_, **__: pytest.fail("downloaded"))
    assert "promises 1000" in refused(releases, target, capsys)


def test_a_release_without_room_for_it_is_refused(
    releases: Releases, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [{"name": "a", "size": 2**60, "sha256": "a" * 64}]
    releases.point(releases.add("1", files("1"), files=listed))
    assert "make room" in refused(releases, target, capsys)
