from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
import yaml
from factories.s3 import s3_server
from PIL import Image

from alambique import files
from alambique.config.deployment import Deployment
from alambique.data import arrivals, manifest, merge
from alambique.data.contract import suites
from alambique.data.dataset import LABELLED, Dataset
from alambique.data.expectations import failures, judge
from alambique.data.store import open_store
from alambique.errors import ConfigurationError
from alambique.files import read_json
from alambique.git import git
from alambique.messages import Arrivals, ArrivalsRequest, Ingested, IngestRequest
from alambique.pipeline import dvc_repository, transfer
from alambique.runs import ingest, new_project, versioning
from alambique.runs.ingest import join_unlabelled

BOX = "0 0.5 0.5 0.25 0.25\n"


@pytest.fixture(scope="module")
def laid_out(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    overrides = folder / "overrides.yaml"
    overrides.write_text("validation: {min_boxes_per_class: 0}\n")
    new_project.init(folder / "cells", str(scenes), "detect", overrides=overrides, origin=None, remote=None)
    return folder / "cells"


@pytest.fixture
def deployment(laid_out: Path, tmp_path: Path) -> Deployment:
    """A copy of a project whose arrivals are an empty folder; runs take what is committed."""
    root = Path(shutil.copytree(laid_out, tmp_path / "cells", symlinks=True))
    (tmp_path / "arrivals").mkdir()
    content = yaml.safe_load((root / "alambique.yaml").read_text())
    local = root / ".alambique"
    here = {"origin": str(local / "origin.git"), "home": str(local), "data": None, "tracking_uri": None}
    (root / "alambique.yaml").write_text(yaml.safe_dump({**content, **here, "arrivals": str(tmp_path / "arrivals")}))
    config = root / ".dvc/config"
    config.write_text(config.read_text().replace(str(laid_out), str(root)))
    git("commit", "--quiet", "--all", "--message", "Move", cwd=root)
    git("push", "--quiet", str(local / "origin.git"), "main", cwd=root)
    return Deployment.load(root)


@pytest.fixture
def inbox(deployment: Deployment) -> Path:
    return Path(str(deployment.arrivals))


def noise(seed: int, side: int = 64) -> Image.Image:
    """An image that resembles no other one."""
    cells = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.NEAREST)


def put(inbox: Path, key: str, image: Image.Image | bytes, label: str | None = None) -> None:
    target = inbox / "images" / key
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        target.write_bytes(image)
    else:
        image.save(target)
    if label is not None:
        path = (inbox / "labels" / key).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(label)


def take(deployment: Deployment) -> Ingested:
    return ingest.ingest(IngestRequest(deployment=deployment, by="a test"))


def look(deployment: Deployment) -> Arrivals:
    return arrivals.count_new(ArrivalsRequest(deployment=deployment))


def outcomes(deployment: Deployment, done: Ingested) -> dict[str, tuple[str, str | None]]:
    """What became of each file of a batch: outcome and reason, by the image's key (or a lonely label's)."""
    with dvc_repository.cloned(deployment, deployment.branch, "look") as workspace:
        record = read_json(workspace / "arrivals" / f"{done.batch}.json")
    return {next(iter(each["versions"])): (each["outcome"], each["reason"]) for each in record["files"]}


def committed(deployment: Deployment, target: Path) -> Dataset:
    """The dataset that the branch holds, from the DVC remote; it keeps its contract."""
    with dvc_repository.cloned(deployment, deployment.branch, "look") as workspace:
        transfer.pull(workspace, ["data"])
        shutil.copytree(workspace / "data", target)
    data = Dataset.load(target)
    assert failures(judge(manifest.build(data).tables, suites(len(data.classes), 0))) == []
    return data


def names(data: Dataset, split: str) -> set[str]:
    return {path.name.rpartition("-")[0] for path in data.images(split)} - {""}


def test_new_images_join_with_and_without_labels_and_only_once(
    deployment: Deployment, inbox: Path, tmp_path: Path
) -> None:
    before = git("ls-remote", deployment.origin, "refs/heads/main").split()[0]
    assert look(deployment).new == 0
    assert take(deployment) == Ingested(batch=None, revision=before)
    for index in range(8):
        put(inbox, f"monday/{index}.png", noise(index), BOX if index < 5 else None)
    put(inbox, "monday/background.png", noise(8), "")
    put(inbox, "monday/test/named.png", noise(9), BOX)
    assert look(deployment).new == 10 + 7
    done = take(deployment)
    assert done.quarantined == 0
    assert done.added["unlabelled"] == 3
    assert sum(done.added.values()) == 10
    data = committed(deployment, tmp_path / "data")
    assert names(data, "unlabelled") == {"5", "6", "7"}
    assert names(data, "test") >= {"named"}
    (background,) = [path for split in LABELLED for path in data.images(split) if path.name.startswith("background-")]
    assert data.label(background).read_text() == ""
    revision = git("ls-remote", deployment.origin, "refs/heads/main").split()[0]
    assert done.revision == revision != before
    assert revision in git("ls-remote", deployment.origin, "refs/tags/data/*")
    assert look(deployment).new == 0
    assert take(deployment) == Ingested(batch=None, revision=revision)


def test_what_is_broken_is_left_out_by_its_reason_and_the_rest_joins(
    deployment: Deployment, inbox: Path, tmp_path: Path, scenes: Path
) -> None:
    whole = io.BytesIO()
    noise(1).save(whole, "jpeg")
    put(inbox, "truncated.jpg", whole.getvalue()[:-200], BOX)
    put(inbox, "empty.png", b"", BOX)
    put(inbox, "bomb.png", bomb())
    put(inbox, "tiny.png", noise(2, side=8), BOX)
    put(inbox, "unknown.png", noise(3), "7777 0.5 0.5 0.1 0.1\n")
    put(inbox, "words.png", noise(4), "a cell\n")
    put(inbox, "outside.png", noise(5), "0 0.9 0.5 0.5 0.5\n")
    (inbox / "labels/lonely.txt").write_text(BOX)
    twin = next((scenes / "images/test").iterdir())
    put(inbox, "train/twin.png", twin.read_bytes(), BOX)
    for index in range(10, 22):
        put(inbox, f"good-{index}.png", noise(index), BOX)
    done = take(deployment)
    found = outcomes(deployment, done)
    reasons = {
        "images/truncated.jpg": "decoded to its last pixel",
        "images/empty.png": "is empty",
        "images/bomb.png": "decoded to its last pixel",
        "images/tiny.png": "at least 10 pixels",
        "images/unknown.png": "class: 7777",
        "images/words.png": "expected `class x y width height`",
        "images/outside.png": "inside its image",
        "labels/lonely.txt": "labels without an image",
    }
    for key, reason in reasons.items():
        assert found[key][0] == "quarantined"
        assert reason in str(found[key][1])
    assert found["images/train/twin.png"][0] == "duplicate"
    assert done.quarantined == len(reasons)
    assert sum(done.added.values()) == 12
    committed(deployment, tmp_path / "data")
    assert look(deployment).new == 0
    put(inbox, "words.png", noise(4), BOX)
    assert sum(take(deployment).added.values()) == 1


def bomb() -> bytes:
    """A PNG whose header promises 3.6 thousand million pixels."""
    file = io.BytesIO()
    Image.new("1", (8, 8)).save(file, "png")
    header = (60000).to_bytes(4, "big") * 2
    return file.getvalue()[:16] + header + file.getvalue()[24:]


def test_of_a_batch_that_is_mostly_broken_nothing_joins(deployment: Deployment, inbox: Path) -> None:
    for index in range(3):
        put(inbox, f"broken-{index}.png", noise(index), "9 9\n")
    put(inbox, "good.png", noise(7), BOX)
    done = take(deployment)
    assert (done.added, done.quarantined) == ({}, 4)
    assert outcomes(deployment, done)["images/good.png"][1] == (
        "3 of the 4 images of this batch are broken, so none of it joined"
    )
    assert look(deployment).new == 0


def test_names_lead_nowhere(deployment: Deployment, inbox: Path, tmp_path: Path) -> None:
    put(inbox, "a b;$(touch x)%2e%2e.png", noise(1), BOX)
    put(inbox, ".hidden.png", noise(2), BOX)
    (inbox / "images/link.png").symlink_to("/etc/hostname")
    assert sum(take(deployment).added.values()) == 1
    data = committed(deployment, tmp_path / "data")
    assert {"a-b-touch-x-2e-2e"} == set().union(*(names(data, split) for split in LABELLED))


def test_labels_that_come_later_are_learned_from(deployment: Deployment, inbox: Path, tmp_path: Path) -> None:
    put(inbox, "late.png", noise(1))
    assert take(deployment).added == {"unlabelled": 1}
    put(inbox, "late.png", noise(1), BOX)
    assert take(deployment).added == {"train": 1}
    put(inbox, "late.png", noise(1), "0 0.5 0.5 0.5 0.5\n")
    done = take(deployment)
    assert outcomes(deployment, done)["images/late.png"][0] == "relabelled"
    data = committed(deployment, tmp_path / "data")
    assert names(data, "unlabelled") == set()
    (image,) = [path for path in data.images("train") if path.name.startswith("late-")]
    assert data.boxes(image).tolist() == [[0, 0.5, 0.5, 0.5, 0.5]]


def test_a_near_duplicate_stays_with_what_it_resembles(deployment: Deployment, inbox: Path, tmp_path: Path) -> None:
    put(inbox, "test/measured.png", noise(1, side=160), BOX)
    assert take(deployment).added == {"test": 1}
    put(inbox, "train/again.jpg", noise(1, side=144), BOX)
    put(inbox, "unlabelled.jpg", noise(1, side=176))
    done = take(deployment)
    assert done.added == {"test": 1}
    assert "which measures the models" in str(outcomes(deployment, done)["images/unlabelled.jpg"][1])


def test_classes_are_mapped_by_their_names(deployment: Deployment, inbox: Path, tmp_path: Path, scenes: Path) -> None:
    classes = Dataset.load(scenes).classes
    (inbox / "data.yaml").write_text(yaml.safe_dump({"names": ["elephant", classes[1]]}))
    put(inbox, "train/known.png", noise(1), "1 0.5 0.5 0.5 0.5\n")
    put(inbox, "train/unknown.png", noise(2), BOX)
    done = take(deployment)
    assert "class elephant is none of the dataset's" in str(outcomes(deployment, done)["images/train/unknown.png"][1])
    data = committed(deployment, tmp_path / "data")
    (image,) = [path for path in data.images("train") if path.name.startswith("known-")]
    assert data.boxes(image)[:, 0].tolist() == [1]


def test_production_images_join_without_labels(deployment: Deployment, tmp_path: Path) -> None:
    field = tmp_path / "production"
    put(field, "a.png", noise(1), BOX)
    put(field, "b.png", noise(2))
    store = open_store(str(field))
    done = join_unlabelled(deployment, store, list(store.items()), "drift")
    assert done.added == {"unlabelled": 2}
    assert len(committed(deployment, tmp_path / "data").production_images()) == 2
    assert join_unlabelled(deployment, store, list(store.items()), "drift").batch is None


STEPS = (
    (ingest, "stage", 1),
    (merge, "write_bytes", 1),
    (merge, "write_bytes", 3),
    (versioning, "track", 1),
    (transfer, "push", 1),
    (arrivals, "write_json", 1),
    (versioning, "git", 3),
)


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_an_interrupted_ingestion_ends_alike_when_repeated(
    deployment: Deployment, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    owner, name, call = STEPS[step]
    kept = Path(shutil.copytree(Path(deployment.origin).parents[1] / "data", tmp_path / "kept"))
    deployment = deployment.model_copy(update={"data": kept})
    put(inbox, "train/labelled.png", noise(1), BOX)
    put(inbox, "unlabelled.png", noise(2))
    work, calls = getattr(owner, name), iter(range(1, 100))

    def interrupted(*arguments: object, **options: object) -> object:
        if next(calls) == call:
            raise KeyboardInterrupt
        return work(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, interrupted)
        take(deployment)
    assert look(deployment).new == 3
    assert take(deployment).added == {"train": 1, "unlabelled": 1}
    data = committed(deployment, tmp_path / "data")
    assert files.folder_sha256(kept, exclude=(".gitignore",)) == files.folder_sha256(data.root)
    assert (names(data, "train"), names(data, "unlabelled")) == ({"labelled"}, {"unlabelled"})
    assert take(deployment).batch is None


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with s3_server(tmp_path_factory.mktemp("s3")):
        yield


def test_a_prefix_of_a_bucket_is_watched(deployment: Deployment, bucket: None, tmp_path: Path) -> None:
    client = boto3.client("s3")
    for index in range(1005):  # more than a page
        client.put_object(Bucket="bucket", Key=f"new/labels/{index:04d}.txt", Body=b"")
    here = deployment.model_copy(update={"arrivals": "s3://bucket/new/"})
    assert look(here).new == 1005
    file = io.BytesIO()
    noise(1).save(file, "png")
    there = here.model_copy(update={"arrivals": "s3://bucket/batches"})
    client.put_object(Bucket="bucket", Key="batches/images/train/..%2f..%2fx.png", Body=file.getvalue())
    client.put_object(Bucket="bucket", Key="batches/labels/train/..%2f..%2fx.txt", Body=BOX.encode())
    client.put_object(Bucket="bucket", Key="batches/images/", Body=b"")
    assert take(there).added == {"train": 1}
    assert names(committed(there, tmp_path / "data"), "train") == {"2f-2fx"}
    assert take(there).batch is None


def test_a_place_that_is_not_there_is_named(deployment: Deployment, bucket: None) -> None:
    for place, words in ((None, "arrivals"), ("s3://nobucket/x", "nobucket"), ("/nowhere", "no folder /nowhere")):
        with pytest.raises(ConfigurationError, match=words):
            look(deployment.model_copy(update={"arrivals": place}))
