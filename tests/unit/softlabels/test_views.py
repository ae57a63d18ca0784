"""A cache of views gives back what was written, is small, and is refused when it is not what it says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alambique.errors import IntegrityError, PermanentError
from alambique.files import read_json, sha256, write_json
from alambique.softlabels import schema, writer
from alambique.softlabels.key import BoxesRecipe, ViewsRecipe
from alambique.softlabels.reader import Cache
from alambique.softlabels.schema import BRANCHES, SoftViews

RECIPE = ViewsRecipe(
    teachers=["a" * 64],
    combine="average",
    experts=None,
    data={"train": "t" * 64},
    image_size=64,
    top_k=2,
    classes=["cat", "dog", "eel"],
    seed=0,
    augmentation={"mosaic": 1.0, "fliplr": 0.5},
    views=4,
    anchors=6,
)


def answers(image: str, seed: int = 0, recipe: ViewsRecipe = RECIPE) -> SoftViews:
    random = np.random.default_rng(seed)
    shape = (recipe.views, len(BRANCHES), recipe.kept)
    return SoftViews(
        image=image,
        checksums=random.integers(0, 1 << 32, recipe.views, np.uint32),
        anchors=random.integers(0, recipe.outputs, shape).astype(schema.index_type(recipe.outputs)),
        logits=random.normal(size=(*shape, recipe.width)).astype(np.float16),
        classes=random.integers(0, len(recipe.classes), (*shape, recipe.width)).astype(np.int16),
        boxes=random.normal(size=(*shape, 4)).astype(np.float16),
    )


IMAGES = [answers(f"train/{index:02d}.png", seed=index) for index in range(5)]


def write(folder: Path, images: list[SoftViews] = IMAGES, recipe: ViewsRecipe = RECIPE, shards: int = 2) -> Path:
    for shard in range(shards):
        (folder / str(shard)).mkdir(parents=True)
        writer.write(folder / str(shard), images[shard::shards], recipe, shard, shards)
    return folder


def replace(folder: Path, images: list[SoftViews]) -> None:
    """Put other rows into shard 0, with a manifest that agrees with their bytes."""
    shard = folder / "0" / schema.SHARD
    columns = [
        pa.array([getattr(image, field.name) for image in images], pa.string())
        if field.name == "image"
        else pa.array([getattr(image, field.name).tolist() for image in images], field.type)
        for field in RECIPE.rows()
    ]
    with shard.open("wb") as file, pa.ipc.new_file(file, RECIPE.rows()) as sink:
        sink.write_batch(pa.RecordBatch.from_arrays(columns, schema=RECIPE.rows()))
    manifest = folder / "0" / schema.MANIFEST
    write_json(manifest, {**read_json(manifest), "sha256": sha256(shard)})


def test_every_image_comes_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH", 2)  # so that a shard has several batches, the last one short
    cache = Cache.open(write(tmp_path / "cache"), RECIPE)
    assert sorted(cache) == [image.image for image in IMAGES]
    for image in IMAGES:
        for found, expected in zip(cache[image.image], image, strict=True):
            np.testing.assert_array_equal(found, expected)
            assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def test_what_is_read_is_the_mapped_file_itself(tmp_path: Path) -> None:
    cache = Cache.open(write(tmp_path / "cache"), RECIPE)
    for values in cache[IMAGES[2].image][1:]:
        assert not values.flags.owndata and not values.flags.writeable


def test_rows_written_another_way_read_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    replace(folder, IMAGES[::2])
    np.testing.assert_array_equal(Cache.open(folder, RECIPE)[IMAGES[2].image].logits, IMAGES[2].logits)


def test_scores_are_the_sigmoid_of_the_likeliest_class() -> None:
    logits = IMAGES[0].logits[..., 0].astype(float)
    np.testing.assert_allclose(IMAGES[0].scores, 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_a_view_takes_a_small_share_of_dense_maps(tmp_path: Path) -> None:
    """640 pixels and 80 classes, as params.yaml has it otherwise."""
    classes = [f"class {index}" for index in range(80)]
    coco = RECIPE.model_copy(update={"image_size": 640, "top_k": 10, "classes": classes, "views": 8, "anchors": 100})
    images = [answers(f"train/{index:02d}.png", index, coco) for index in range(20)]
    size = (write(tmp_path / "cache", images, coco, shards=1) / "0" / schema.SHARD).stat().st_size
    dense = len(BRANCHES) * (4 + 80) * coco.outputs * 2
    assert dense / (size / (20 * 8)) > 275
    assert size / (20 * 8) == pytest.approx(4 + 2 * 100 * (10 + 4 * 10), rel=0.01)


def test_no_more_anchors_are_kept_than_a_head_has() -> None:
    assert RECIPE.model_copy(update={"anchors": 1000}).kept == 84


@pytest.mark.parametrize(
    ("anchors", "kind"), [(84, np.uint8), (8400, np.uint16), (1 << 16, np.uint16), (65537, np.uint32)]
)
def test_an_index_is_as_small_as_it_can_be(anchors: int, kind: type) -> None:
    assert schema.index_type(anchors) == kind


def test_the_teacher_may_not_give_nan(tmp_path: Path) -> None:
    broken = answers("train/x.png")
    broken.boxes[1, 0, 2, 3] = np.nan
    with pytest.raises(PermanentError, match=r"not finite for train/x\.png"):
        write(tmp_path / "cache", [broken])


@pytest.mark.parametrize(
    "change",
    [
        {"teachers": ["b" * 64]},
        {"data": {"train": "x" * 64}},
        {"image_size": 96},
        {"top_k": 1},
        {"seed": 1},
        {"augmentation": {"mosaic": 0.5, "fliplr": 0.5}},
        {"views": 5},
        {"anchors": 7},
    ],
)
def test_a_cache_made_by_another_recipe_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    folder = write(tmp_path / "cache")
    now = RECIPE.model_copy(update=change)
    assert now.digest() != RECIPE.digest()
    with pytest.raises(IntegrityError, match=f"made for {next(iter(change))} "):
        Cache.open(folder, now)


def test_views_are_no_boxes(tmp_path: Path) -> None:
    common = RECIPE.model_dump(include=set(BoxesRecipe.model_fields) - {"kind"})
    boxes = BoxesRecipe(**common, preprocessing={}, image_sizes=[64], min_score=0.05, max_boxes=10)
    with pytest.raises(IntegrityError, match="made for kind views, but now it is boxes"):
        Cache.open(write(tmp_path / "cache"), boxes)


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shard = folder / "0" / schema.SHARD
    os.truncate(shard, shard.stat().st_size - 8)
    with pytest.raises(IntegrityError, match="truncated"):
        Cache.open(folder, RECIPE)


def test_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shard = folder / "1" / schema.SHARD
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(IntegrityError, match="sha256"):
        Cache.open(folder, RECIPE)


def test_nan_is_refused_though_the_hash_is_right(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    broken = answers(IMAGES[2].image)
    broken.logits[3, 1, 0, 1] = np.nan
    replace(folder, [IMAGES[0], broken, IMAGES[4]])
    with pytest.raises(IntegrityError, match=r"not finite for train/02\.png"):
        Cache.open(folder, RECIPE)


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    replace(folder, IMAGES[::2][::-1])
    with pytest.raises(IntegrityError, match=r"train/04\.png stands before train/02\.png"):
        Cache.open(folder, RECIPE)


def test_shards_of_two_teachers_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    other = write(tmp_path / "other", recipe=RECIPE.model_copy(update={"teachers": ["b" * 64]}))
    shutil.rmtree(folder / "1")
    shutil.move(other / "1", folder / "1")
    with pytest.raises(IntegrityError, match=r"shard 1 .* made for teachers"):
        Cache.open(folder, RECIPE)
