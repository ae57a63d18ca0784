from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from factories.drift_project import PARAMS, World
from factories.s3 import s3_server

from alambique.data.store import client
from alambique.drift import features
from alambique.drift.detect_drift import compare_newest, drift
from alambique.errors import ConfigurationError, IntegrityError
from alambique.files import read_json
from alambique.git import git
from alambique.registry.ledger import Ledger, State


def put(world: World, images: Sequence[Path], factor: float = 1.0) -> None:
    """Copy images to where production images appear, their values multiplied."""
    for path in images:
        pixels = cv2.imread(str(path)).astype(float) * factor
        cv2.imwrite(str(world.production / path.name), pixels.clip(0, 255).astype(np.uint8))


def change_params(world: World, tmp_path: Path, **changes: object) -> None:
    """Commit other parameters to the branch; the champion's run keeps its own."""
    clone = tmp_path / "clone"
    git("clone", "--quiet", world.deployment.origin, str(clone))
    (clone / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}))
    git("commit", "--quiet", "--all", "--message", "Other parameters", cwd=clone)
    git("push", "--quiet", "origin", "main", cwd=clone)


def test_images_like_the_champions_have_not_drifted(world: World, alike: list[Path]) -> None:
    put(world, alike[:60])
    message = drift(world.request)
    assert (message.verdict, message.n, message.signals, message.ingested) == ("no_drift", 60, [], None)
    folder = Path(str(message.report)).parent
    assert {path.name for path in folder.iterdir()} == {"drift.json", "report.html"}
    assert folder.parent == world.deployment.home / "drift"
    assert not list((world.deployment.home / "workspaces").glob("drift-*"))
    objects = [path for path in (world.deployment.home / "cache").rglob("*") if path.is_file()]
    assert 120 <= len(objects) < 130  # the images of either reference, the checkpoint, and no label


def test_darker_images_have_and_join_the_dataset_once(world: World, alike: list[Path]) -> None:
    put(world, alike[:60], 0.5)
    message, folder = compare_newest(world.request)
    assert message.verdict == "drift"
    assert "brightness" in message.signals
    assert message.ingested is not None and sum(message.ingested.added.values()) >= 50
    assert set(message.ingested.added) == {"unlabelled"}
    rows = list(csv.DictReader((Path(str(folder)) / "to_label.csv").open()))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, len(rows) + 1)]
    assert {row["key"] for row in rows} <= {path.name for path in alike[:60]}
    assert len(rows) == 50
    needs_nothing_but_itself(Path(str(folder)) / "report.html")
    again = drift(world.request)
    assert again.verdict == "drift" and again.ingested is not None and again.ingested.batch is None


def test_what_the_champion_learned_from_the_field_is_drift_no_more(world: World, alike: list[Path]) -> None:
    put(world, alike[:60], 0.5)
    assert drift(world.request).verdict == "drift"
    promote_what_joined(world)
    for path in world.production.iterdir():
        path.unlink()
    put(world, alike[40:100], 0.5)
    message, folder = compare_newest(world.request)
    assert (message.verdict, message.signals, message.ingested) == ("no_drift", [], None)
    result = read_json(Path(str(folder)) / "drift.json")
    assert result["familiar"] is True
    assert "brightness" in {signal["name"] for signal in result["signals"] if signal["drifted"]}
    assert "not from the production images that joined" in (Path(str(folder)) / "report.html").read_text()
    for path in world.production.iterdir():
        path.unlink()
    put(world, alike[40:100], 1.8)
    assert drift(world.request).verdict == "drift"


def promote_what_joined(world: World) -> None:
    """Record the branch as another run, whose student is champion."""
    origin = world.deployment.origin
    git("tag", "runs/r2", "main", cwd=Path(origin))
    ledger = Ledger(origin, "tiny-onnx")
    state = ledger.read()
    assert state is not None
    entry = state.champion.model_copy(update={"tag": "runs/r2", "digest": "e" * 64})
    ledger.move(State(entry, state.champion), state.sha, "Promote")


def needs_nothing_but_itself(report: Path) -> None:
    page = report.read_text()
    assert "have drifted" in page and "brightness" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert page.count("data:image/jpeg;base64,") == 24
    assert page.count("<svg") >= 8


def test_the_same_batch_has_the_same_verdict_on_another_machine(world: World, alike: list[Path]) -> None:
    put(world, alike[:60])
    other = world.request.model_copy(
        update={"deployment": world.deployment.model_copy(update={"home": world.deployment.home / "other"})}
    )
    (_, first), (_, second) = (compare_newest(request) for request in (world.request, other))
    assert first is not None and second is not None and first != second
    for name in ("drift.json", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_reference_is_made_once(world: World, alike: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    put(world, alike[:60])
    drift(world.request)
    saved = []
    monkeypatch.setattr(features, "save", lambda *_: saved.append(1))
    put(world, alike[60:70])
    assert drift(world.request).n == 60  # the window
    assert not saved


def test_what_cannot_be_read_is_passed_over(world: World, alike: list[Path]) -> None:
    put(world, alike[:50])
    (world.production / "empty.png").touch()
    (world.production / "words.png").write_text("no image")
    (world.production / "half.png").write_bytes(alike[0].read_bytes()[:200])
    (world.production / "notes.txt").write_text("no image either")
    with (world.production / "huge.jpg").open("wb") as file:
        file.truncate(300 * 2**20)
    message, folder = compare_newest(world.request)
    assert (message.verdict, message.n) == ("no_drift", 50)
    assert read_json(Path(str(folder)) / "drift.json")["batch"] == {"images": 50, "unreadable": 4}


def test_too_few_images_have_no_verdict(world: World, alike: list[Path]) -> None:
    put(world, alike[:39])
    assert drift(world.request).model_dump(include={"verdict", "n"}) == {"verdict": "too_few", "n": 39}
    (world.production / "words.png").write_text("no image")
    assert drift(world.request).model_dump(include={"verdict", "n"}) == {"verdict": "too_few", "n": 39}


def test_without_a_champion_there_is_no_verdict(world: World, alike: list[Path], tmp_path: Path) -> None:
    put(world, alike[:50])
    change_params(world, tmp_path, runtimes=["openvino"])
    assert drift(world.request).verdict == "no_champion"


def test_without_enough_images_that_the_network_never_saw_only_pixels_count(
    world: World, alike: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alambique.drift.reference.MIN_IMAGES", 61)
    put(world, alike[:60])
    _, folder = compare_newest(world.request)
    result = read_json(Path(str(folder)) / "drift.json")
    assert result["reference"]["compared"] is False
    assert {signal["source"] for signal in result["signals"]} == {"image"}
    assert "60 images, and" in (Path(str(folder)) / "report.html").read_text()


def test_a_damaged_image_of_the_reference_is_an_error(recorded: Path, world: World, alike: list[Path]) -> None:
    put(world, alike[:60])
    remote = world.deployment.home.parent / "remote"
    shutil.copytree(recorded / "remote", remote)
    victim = dvc_object(recorded, remote, "images/val/00000.png")
    victim.chmod(0o644)
    victim.write_bytes(b"other")
    point_at(world, remote)
    with pytest.raises(IntegrityError, match=r"data/images/val/00000\.png: the DVC remote lacks its object"):
        drift(world.request)


def dvc_object(recorded: Path, remote: Path, name: str) -> Path:
    from alambique.drift.reference import tracked_files

    with tracked_files(recorded / "project", Path("data")) as tracked:
        oid = tracked.hashes[name].value
    return remote / "files" / "md5" / oid[:2] / oid[2:]


def point_at(world: World, remote: Path) -> None:
    """Another champion-to-be: the same run with another DVC remote, under the same tag."""
    clone = world.deployment.home.parent / "clone"
    git("clone", "--quiet", world.deployment.origin, str(clone))
    config = clone / ".dvc" / "config"
    config.write_text(re.sub(r"url = .*", f"url = {remote}", config.read_text()))
    git("commit", "--quiet", "--all", "--message", "Another remote", cwd=clone)
    git("tag", "--force", "runs/r1", cwd=clone)
    git("push", "--quiet", "--force", "origin", "main", "runs/r1", cwd=clone)


def test_labelled_images_tell_how_good_the_champion_is(world: World, photographs: Path, alike: list[Path]) -> None:
    (world.production / "images").mkdir()
    (world.production / "labels").mkdir()
    for path in alike[:50]:
        shutil.copy(path, world.production / "images")
        shutil.copy(photographs / "labels" / "test" / f"{path.stem}.txt", world.production / "labels")
    _, folder = compare_newest(world.request)
    measured = read_json(Path(str(folder)) / "drift.json")["performance"]
    assert measured["images"] == 50
    assert measured["drifted"] is False
    assert measured["test"]["images"] == 30
    assert "images of the batch have labels" in (Path(str(folder)) / "report.html").read_text()


def test_few_labelled_images_tell_nothing(world: World, photographs: Path, alike: list[Path]) -> None:
    put(world, alike[:50])
    for path in alike[:29]:
        shutil.copy(photographs / "labels" / "test" / f"{path.stem}.txt", world.production)
    _, folder = compare_newest(world.request)
    assert read_json(Path(str(folder)) / "drift.json")["performance"] is None


def test_images_in_a_bucket_are_judged_too(world: World, alike: list[Path], tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3"):
        for path in alike[:50]:
            client().upload_file(str(path), "bucket", f"field/{path.name}")
        deployment = world.deployment.model_copy(update={"production": "s3://bucket/field"})
        message = drift(world.request.model_copy(update={"deployment": deployment}))
    assert (message.verdict, message.n) == ("no_drift", 50)


def test_a_project_that_watches_nothing_says_so(world: World) -> None:
    request = world.request.model_copy(update={"deployment": world.deployment.model_copy(update={"production": None})})
    with pytest.raises(ConfigurationError, match=r"`production` of alambique\.yaml is empty"):
        drift(request)
