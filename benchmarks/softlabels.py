"""What the cache of soft labels costs: bytes on disk against dense maps, and memory while it is written.

    python -m benchmarks.softlabels [--quick]

The cache is written by the product's own writer, with the defaults of params.yaml (those of distill_quality, too), for
made-up teachers of COCO's 80 classes at 640 px. Dense maps are one head's four box sides and 80 logits at 8,400
anchors in half precision. Files count whole, manifest and all.

dense_over_boxes      bytes of dense maps over bytes of boxes, an image; each image has `max_boxes`, the worst case
writer_memory_growth  the writer's peak memory above what its imports take, 20,000 images over 1,000
"""

from __future__ import annotations

import gc
import re
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from alambique.softlabels import writer
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe
from benchmarks import common
from benchmarks.common import Row

CLASSES, SIZE = 80, 640
DENSE = (4 + CLASSES) * sum((SIZE // stride) ** 2 for stride in (8, 16, 32)) * 2
"""Bytes of one image's dense maps."""

COCO_MEAN = 7.3
"""Labelled boxes of an image of COCO's train2017, on average (860,001 in 117,266 images)."""


def main(quick: Annotated[bool, typer.Option(help="The same code in under two minutes.")] = False) -> None:
    """Measure the cache of soft labels."""
    images, rounds = (500, 1) if quick else (5_000, 5)
    rows = [
        dense_over_boxes(images),
        writer_memory_growth(rounds, 1_000, 4_000 if quick else 20_000),
    ]
    common.publish("softlabels", rows, quick=quick, threads=1)


def dense_over_boxes(images: int) -> Row:
    """The cache has one size: what varies is how many boxes the images hold, so both ends of that are published."""
    most = common.params().soft_labels.max_boxes
    worst, usual = (_bytes_an_image(images, boxes) for boxes in (most, COCO_MEAN))
    ratio = DENSE / worst
    details = {"bytes": worst, "boxes": most, "at_coco_mean": DENSE / usual, "bytes_at_coco_mean": usual}
    return Row("dense_over_boxes", ratio, ratio, ratio, images, "≥ 150", details)


def writer_memory_growth(rounds: int, few: int, many: int) -> Row:
    """Each writer has a fresh process: the smaller and the larger take turns."""
    peaks = [{images: _in_child(images) for images in (few, many)} for _ in range(rounds)]
    mebibytes = {f"mib_at_{images}": [peak[images] / 2**20 for peak in peaks] for images in (few, many)}
    return common.median("writer_memory_growth", [peak[many] / peak[few] for peak in peaks], "≤ 1.05", **mebibytes)


def write_boxes(folder: Path, images: int, boxes: float) -> None:
    """Write one shard into `folder`; at `max_boxes` every image has as many, below it the number is Poisson's."""
    recipe = BoxRecipe(
        teachers=["0" * 64],
        experts=None,
        data={"train": "0" * 64},
        preprocessing={},
        image_sizes=[SIZE],
        classes=[f"class {index}" for index in range(CLASSES)],
        **common.params().soft_labels.model_dump(include={"combine", "top_k", "min_score", "max_boxes"}),
    )
    generator = np.random.default_rng(0)
    most = recipe.max_boxes
    counts = (most if boxes == most else min(int(generator.poisson(boxes)), most) for _ in range(images))
    writer.write(folder, _boxes(counts, recipe.width, generator), recipe, shard=0, shards=1)


def peak_above_imports(images: int) -> int:
    """Bytes of resident memory at the writer's worst moment, above those before it began; Linux only."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was the imports'
    before = _resident("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        write_boxes(Path(folder), images, common.params().soft_labels.max_boxes)
    return _resident("VmHWM") - before


def _in_child(images: int) -> int:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak_above_imports, images).result()


def _resident(field: str) -> int:
    """A field of this process's status, bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"/proc/self/status has no {field}; memory is measured on Linux only")
    return int(match[1]) * 1024


def _bytes_an_image(images: int, boxes: float) -> float:
    """Of all files that `write_boxes` leaves."""
    with tempfile.TemporaryDirectory() as folder:
        write_boxes(Path(folder), images, boxes)
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / images


def _boxes(counts: Iterable[int], width: int, generator: np.random.Generator) -> Iterator[BoxLabels]:
    """Images by path, each with its number of boxes."""
    for index, count in enumerate(counts):
        yield BoxLabels(
            image=f"train/{index:012d}.jpg",  # as COCO's are
            boxes=generator.random((count, 4)).astype(np.float16),
            logits=generator.normal(size=(count, width)).astype(np.float16),
            classes=generator.integers(CLASSES, size=(count, width)).astype(np.int16),
            scores=generator.random(count).astype(np.float16),
        )


if __name__ == "__main__":
    common.run(main)
