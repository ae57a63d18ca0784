"""A view is the same pixels and boxes whoever renders it, and when."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from alambique import files
from alambique.data.dataset import Dataset
from alambique.softlabels.key import ViewsRecipe
from alambique.tasks.detect.view_loader import ViewLoader, ViewSampler, view_of
from alambique.tasks.detect.views import LABELLED, ViewDataset, checksum, mosaics

SIZE = 64
VIEWS = 4
LABELLED_GREY, UNLABELLED_GREY = 40, 220


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five labelled images and three unlabelled ones, of random pixels in two ranges of grey that tell them apart."""
    root = tmp_path_factory.mktemp("painted")
    generator = np.random.default_rng(0)
    for split, count, grey in (("train", 5, LABELLED_GREY), ("unlabelled", 3, UNLABELLED_GREY)):
        for index in range(count):
            pixels = generator.integers(grey - 20, grey + 20, (48, SIZE, 1), np.uint8)
            files.write_bytes(root / f"images/{split}/{index}.png", cv2.imencode(".png", np.repeat(pixels, 3, 2))[1])
            if split == "train":
                files.write_text(root / f"labels/{split}/{index}.txt", f"{index % 2} 0.5 0.5 0.4 0.4\n")
    files.write_text(root / "data.yaml", "train: images/train\nunlabelled: images/unlabelled\nnames: [zero, one]\n")
    return root


def dataset(root: Path, seed: int = 0, **augmentation: float) -> ViewDataset:
    recipe = ViewsRecipe(
        teachers=["a" * 64],
        combine="average",
        experts=None,
        data={"train": "t" * 64},
        image_size=SIZE,
        top_k=2,
        classes=["zero", "one"],
        seed=seed,
        augmentation=augmentation,
        views=VIEWS,
        anchors=10,
    )
    return ViewDataset(Dataset.load(root), recipe)


PLACES = [(index, view) for index in range(8) for view in range(VIEWS)]


def facts(item: dict[str, Any]) -> tuple[int, bytes, bytes]:
    return checksum(item["img"]), item["bboxes"].numpy().tobytes(), item["cls"].numpy().tobytes()


def test_a_view_does_not_depend_on_what_was_rendered_before(root: Path) -> None:
    forwards, backwards = dataset(root), dataset(root)
    expected = {place: facts(forwards[place]) for place in PLACES}
    random.seed(1)
    np.random.seed(1)
    assert {place: facts(backwards[place]) for place in reversed(PLACES)} == expected
    assert {place: facts(forwards[place]) for place in PLACES} == expected  # now every image comes from memory


def test_every_view_of_every_image_differs(root: Path) -> None:
    views = dataset(root)
    assert len({facts(views[place]) for place in PLACES}) == len(PLACES)


def test_another_seed_gives_other_views(root: Path) -> None:
    first, second = dataset(root, seed=0), dataset(root, seed=1)
    assert not {facts(first[place])[0] for place in PLACES} & {facts(second[place])[0] for place in PLACES}


def test_rendering_leaves_the_trainings_own_randomness_alone(root: Path) -> None:
    views = dataset(root)
    states = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    views[0, 0]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # type: ignore[index, union-attr]


def test_another_process_renders_the_same(root: Path) -> None:
    views = dataset(root)
    script = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[1]]; import test_views as tests;"
        "views = tests.dataset(Path(sys.argv[2]));"
        "print([tests.checksum(views[place]['img']) for place in tests.PLACES[::-3]])"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(root)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found.splitlines()[-1] == str([checksum(views[place]["img"]) for place in PLACES[::-3]])


def epochs(root: Path, workers: int, start: int = 0) -> list[list[tuple[Any, ...]]]:
    """Three epochs, the last without mosaics: each image's file, pixels and boxes."""
    views = dataset(root)
    sampler = ViewSampler(len(views), VIEWS, closing=2, seed=0)
    loader = ViewLoader(views, sampler, batch=2, workers=workers, pin_memory=False)
    shown = []
    for epoch in range(start, 3):
        sampler.set_epoch(epoch)  # as upstream does where there are several processes
        shown.append([])
        for batch in loader:
            for number, file in enumerate(batch["im_file"]):
                boxes = batch["bboxes"][batch["batch_idx"] == number]
                shown[-1].append((file, checksum(batch["img"][number]), boxes.numpy().tobytes()))
        loader.reset()  # as upstream does when mosaics end
    loader.close()
    return shown


def test_an_epoch_is_the_same_with_any_number_of_workers(root: Path) -> None:
    assert epochs(root, workers=0) == epochs(root, workers=2)


def test_a_resumed_training_sees_what_the_uninterrupted_one_saw(root: Path) -> None:
    assert epochs(root, workers=0, start=1) == epochs(root, workers=0)[1:]


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(root: Path) -> None:
    first, second, _ = epochs(root, workers=0)
    assert len({file for file, *_ in first}) == len(first) == 8
    assert sorted(file for file, *_ in second) == sorted(file for file, *_ in first)
    assert [file for file, *_ in second] != [file for file, *_ in first]
    assert not {pixels for _, pixels, _ in first} & {pixels for _, pixels, _ in second}


def test_processes_share_an_epoch_evenly() -> None:
    shares = [list(ViewSampler(7, VIEWS, closing=2, seed=0, rank=rank, ranks=2)) for rank in range(2)]
    assert [len(share) for share in shares] == [4, 4]
    assert {index for share in shares for index, _ in share} == set(range(7))


@pytest.mark.parametrize(
    ("views", "shown"),
    [(8, [0, 1, 2, 3, 4, 5, 0, 6, 7, 6]), (2, [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]), (1, [0] * 10)],
)
def test_views_take_turns_and_the_last_quarter_comes_when_mosaics_end(views: int, shown: list[int]) -> None:
    assert [view_of(epoch, closing=7, views=views) for epoch in range(10)] == shown


def test_the_last_views_are_no_mosaics(root: Path) -> None:
    views = dataset(root, translate=0.0, scale=0.0)
    boxes = {view: [len(views[index, view]["bboxes"]) for index in range(5)] for view in range(VIEWS)}
    assert mosaics(VIEWS) == 3
    assert boxes[3] == [1] * 5
    assert all(max(boxes[view]) > 1 for view in range(3))


def test_labelled_and_unlabelled_images_stay_apart_in_mosaics(root: Path) -> None:
    views = dataset(root, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    for index, view in PLACES:
        pixels = views[index, view]["img"]
        # The border's grey, 114, lies between the two kinds, and so does what is interpolated towards it.
        if index < 5:
            assert pixels.max() <= 114
        else:
            assert pixels.min() >= 114


def test_mosaic_partners_come_from_the_whole_dataset(root: Path) -> None:
    views = dataset(root)
    partners = set()
    original = views.get_image_and_label
    views.get_image_and_label = lambda index: partners.add(index) or original(index)  # type: ignore[method-assign]
    for view in range(3):
        for index in range(2):
            views[index, view]
    assert partners == set(range(5))


def test_a_batch_says_which_images_have_labels(root: Path) -> None:
    views = dataset(root)
    batch = views.collate_fn([views[0, 0], views[6, 0], views[4, 3]])
    assert batch[LABELLED].tolist() == [True, False, True]
    assert 1 not in batch["batch_idx"].tolist()
