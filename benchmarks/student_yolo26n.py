"""The YOLO26n student that `compression` and `pruning` begin with: a project of the product's own stages.

Its teacher is a YOLO26n fine-tuned on the data; the student starts from the same COCO weights, is distilled from the
teacher's soft labels, and answers at 320 px. What is done is kept in benchmarks/.runs, for both benchmarks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alambique.files import sha256
from benchmarks import common, datasets, stage_runs
from benchmarks.stage_runs import Stage, begin, do, given, lay_out

STUDENT, TEACHER, SEED = "nano", "main", 0
SHARED = ("data", "inputs", "soft_labels", "models/teacher", "models/distilled", "metrics/validate.json")
"""What a variant has in common with the project that it is a variant of."""


PRUNING = (Stage("search"), Stage("prune", (STUDENT,)))
"""What a variant goes on with."""

STAGES = (
    Stage("validate"),
    Stage("teacher", (TEACHER,)),
    Stage("soft_labels", ("0",)),
    Stage("distill", (STUDENT, str(SEED))),
)


@dataclass(frozen=True)
class Scale:
    """How large the work is.

    Attributes:
        image_size: side of the input, pixels.
        network: the student's and the teacher's scale.
        steps: of both.
    """

    image_size: int = 320
    network: str | tuple[float, float, int] = "n"
    steps: int = 390


QUICK = Scale(64, (0.5, 0.25, 1024), 2)


@contextmanager
def project(data: Path | None, weights: Path | None, quick: bool) -> Iterator[Path]:
    """The project up to its distilled student, as far as it was not done before; begins and ends with the scratch.

    Args:
        data: a dataset in YOLO layout, such as BCCD.
        weights: what the teacher and the student begin with: a COCO checkpoint of YOLO26n.
        quick: the demo's scenes and a tiny network instead.
    Raises:
        DataError: either is missing, and the run is not quick.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    begin()
    with tempfile.TemporaryDirectory() as scratch:
        if quick:
            scale, folder = QUICK, Path(scratch)
            source = datasets.scenes(folder / "scenes", train=20, size=scale.image_size)
            weights = None
        else:
            scale = Scale()
            source, weights = given(data, weights)
            digests = [source.digest(split) for split in ("train", "val", "test")]
            folder = common.state("nano", data=digests, weights=sha256(weights), scale=scale)
        made = folder / "project"
        splits = {split: source.images(split) for split in ("train", "val", "test")}
        lay_out(made, "detect", partial(datasets.link, source, splits=splits), _changes(weights, scale))
        do(made, STAGES)
        yield made


def variant(project: Path, name: str, **changes: Any) -> Path:
    """A project beside `project` with the same data, teacher and distilled student, but other parameters.

    Args:
        project: as it was made above.
        name: of the variant's folder.
        changes: of params.yaml, merged into its sections.
    """
    return stage_runs.variant(project, name, SHARED, **changes)


def _changes(weights: Path | None, scale: Scale) -> dict[str, Any]:
    """What its params.yaml has other than the defaults."""
    start = weights and str(weights.resolve())
    network = {"family": "yolo26", "scale": list(scale.network) if isinstance(scale.network, tuple) else scale.network}
    return {
        "input_size": scale.image_size,
        "students": [STUDENT],
        "networks": {STUDENT: {**network, "weights": start}},
        "teacher": {TEACHER: {"weights": start, "network": network, "steps": scale.steps}},
        "soft_labels": {"shards": [0], **({} if start else {"min_score": 0.0})},
        "distill": {"steps": scale.steps},
        "validation": {"min_boxes_per_class": 0},
    }
