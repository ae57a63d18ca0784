"""The cache gives back what was written, and refuses everything else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from factories.soft_labels import DATA, IMAGES, RECIPE, labels, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alambique.errors import IntegrityError, PermanentError
from alambique.files import read_json, sha256, write_json
from alambique.softlabels import schema, writer
from alambique.softlabels.reader import Cache
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe


def read(folder: Path, recipe: BoxRecipe = RECIPE) -> Cache[BoxLabels]:
    return Cache.open(folder, recipe)


def rewrite(folder: Path, **changes: object) -> None:
    """Change the manifest of shard 0 without changing what it vouches for."""
    path = folder / "0" / schema.MANIFEST
    write_json(path, {**read_json(path), **changes})


def replace(folder: Path, images: list[BoxLabels]) -> None:
    """Put other rows into shard 0, with a manifest that agrees with their bytes."""
    shard = folder / "0" / schema.SHARD
    with shard.open("wb") as file, pa.ipc.new_file(file, RECIPE.layout()) as sink:
        if images:
            columns = [
                pa.array([image.image for image in images]),
                *(
                    pa.array([list(getattr(image, name)) for image in images], RECIPE.layout().field(name).type)
                    for name in ("boxes", "logits", "classes", "scores")
                ),
            ]
            sink.write_batch(pa.RecordBatch.from_arrays(columns, schema=RECIPE.layout()))
    rewrite(folder, sha256=sha256(shard))


def test_every_image_comes_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH", 2)  # so that a shard has several batches, the last one short
    cache = read(write(tmp_path / "cache"))
    assert sorted(cache) == [image.image for image in IMAGES]
    for image in IMAGES:
        for values, expected in zip(cache[image.image], image, strict=True):
            np.testing.assert_array_equal(values, expected)


def test_what_is_read_is_the_mapped_file_itself(tmp_path: Path) -> None:
    cache = read(write(tmp_path / "cache"))
    for values in cache[IMAGES[2].image][1:]:
        assert not values.flags.owndata and not values.flags.writeable


def test_equal_work_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name)
    for file in ("0/soft_labels.arrow", "1/soft_labels.arrow", "0/manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_shard_without_images_is_a_shard(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "cache", IMAGES[:1]))) == 1


def test_the_teacher_may_not_give_nan(tmp_path: Path) -> None:
    broken = labels("train/x.png", 1)
    broken.logits[0, 1] = np.nan
    with pytest.raises(PermanentError, match=r"not finite for train/x\.png"):
        write(tmp_path / "cache", [broken])


@pytest.mark.parametrize(
    "change",
    [
        {"teachers": ["a" * 64, "c" * 64]},
        {"teachers": ["b" * 64, "a" * 64]},
        {"combine": "best_per_class"},
        {"experts": [0, 1, 1]},
        {"data": {**DATA, "train": "x" * 64}},
        {"preprocessing": {"padding": 0}},
        {"image_sizes": [96]},
        {"top_k": 1},
        {"min_score": 0.1},
        {"max_boxes": 20},
        {"classes": ["cat", "eel", "dog"]},
    ],
)
def test_the_key_depends_on_every_part_of_the_recipe(change: dict[str, object]) -> None:
    assert RECIPE.model_copy(update=change).digest() != RECIPE.digest()


def test_the_key_depends_on_the_schema_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RECIPE.digest()
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert RECIPE.digest() != before


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shard = folder / "0" / schema.SHARD
    os.truncate(shard, shard.stat().st_size - 8)
    with pytest.raises(IntegrityError, match="truncated"):
        read(folder)


def test_a_shard_without_its_manifest_is_unfinished(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    (folder / "1" / schema.MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="unfinished"):
        read(folder)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    (folder / "1" / schema.SHARD).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        read(folder)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shutil.rmtree(folder / "1")
    with pytest.raises(IntegrityError, match=r"shards \[0\] of 2"):
        read(folder)


def test_a_surplus_shard_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    other = write(tmp_path / "other", shards=3)
    shutil.move(other / "2", folder / "2")
    with pytest.raises(IntegrityError, match=r"shards \[0, 1, 2\] of 2; remove"):
        read(folder)


def test_a_shard_in_the_folder_of_another_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shutil.move(folder / "1", folder / "2")
    with pytest.raises(IntegrityError, match=r"2/manifest\.json is not as the manifest of shard 1"):
        read(folder)


def test_an_image_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    shutil.rmtree(folder / "1")
    (folder / "1").mkdir()
    writer.write(folder / "1", IMAGES[:1], RECIPE, 1, 2)
    with pytest.raises(IntegrityError, match="6 rows for 5 samples"):
        read(folder)


def test_what_a_killed_writer_left_beside_the_shards_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    (folder / ".1.unfinished-x").mkdir()
    assert len(read(folder)) == len(IMAGES)


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_an_empty_cache_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match=r"no soft labels; pull them \(`dvc pull soft_labels`\)"):
        read(tmp_path / folder)


def test_nan_is_refused_though_the_hash_is_right(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    broken = labels("train/00.png", 1)
    broken.logits[0, 0] = np.nan
    replace(folder, [broken, *IMAGES[2::2]])
    with pytest.raises(IntegrityError, match=r"not finite for train/00\.png"):
        read(folder)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    uneven = IMAGES[2]._replace(scores=np.ones(1, np.float16))
    replace(folder, [IMAGES[0], uneven, *IMAGES[4::2]])
    with pytest.raises(IntegrityError, match="more items in one column than in another"):
        read(folder)


def test_a_manifest_that_is_written_otherwise_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    path = folder / "0" / schema.MANIFEST
    path.write_text(path.read_text().replace("\n", " \n"))
    with pytest.raises(IntegrityError, match="not as the manifest of shard 0 was written"):
        read(folder)


ODD = RECIPE.model_copy(update={"min_score": 1e-05, "preprocessing": {"resize": "à l’échelle"}})
"""A recipe with a number and a name that JSON can spell in two ways, a bit apart."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that is fit to be read; a test may damage it if it mends it again."""
    folder = write(tmp_path_factory.mktemp("whole") / "cache", recipe=ODD)
    assert len(read(folder, ODD)) == len(IMAGES)
    return folder


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from([schema.SHARD, schema.MANIFEST]),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_any_flipped_bit_is_refused(whole: Path, file: str, place: float, bit: int) -> None:
    path = whole / "0" / file
    content = path.read_bytes()
    changed = bytearray(content)
    changed[int(place * len(content))] ^= 1 << bit
    path.write_bytes(changed)
    try:
        with pytest.raises(IntegrityError):
            read(whole, ODD)
    finally:
        path.write_bytes(content)


def test_a_wrong_row_count_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    replace(folder, IMAGES[0:8:2])
    with pytest.raises(IntegrityError, match="holds 4 samples, but its manifest says 5"):
        read(folder)


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    replace(folder, IMAGES[::2][::-1])
    with pytest.raises(IntegrityError, match=r"train/08\.png is before train/06\.png"):
        read(folder)


def test_shards_of_two_teachers_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    other = write(tmp_path / "other", recipe=RECIPE.model_copy(update={"teachers": ["c" * 64]}))
    shutil.rmtree(folder / "1")
    shutil.move(other / "1", folder / "1")
    with pytest.raises(IntegrityError, match=r"shard 1 in .* for teachers \['cccc.*, but shard 0 for \['aaaa"):
        read(folder)


def test_a_manifest_that_names_another_teacher_than_its_key_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "cache")
    rewrite(folder, recipe=RECIPE.model_copy(update={"teachers": ["c" * 64]}).model_dump())
    with pytest.raises(IntegrityError, match="key"):
        read(folder)


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"teachers": ["c" * 64]}, "made for teachers"),
        ({"data": {**DATA, "unlabelled": "x" * 64}}, "made for data"),
        ({"image_sizes": [96]}, r"made for image_sizes \[64\], but now it is \[96\]"),
        ({"classes": ["cat", "dog"]}, "made for classes"),
        ({"min_score": 0.1}, "made for min_score"),
    ],
)
def test_soft_labels_of_another_recipe_are_refused(tmp_path: Path, now: dict[str, object], named: str) -> None:
    folder = write(tmp_path / "cache")
    with pytest.raises(IntegrityError, match=named):
        read(folder, RECIPE.model_copy(update=now))
