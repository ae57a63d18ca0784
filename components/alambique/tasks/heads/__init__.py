"""Instance segmentation, poses and turned boxes with YOLO26: a detector with one more head, a task for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alambique.config.heads import Head, Heads
from alambique.evaluation.measures import Measure, Resampled
from alambique.tasks import Ability, Facts, Tensors
from alambique.tasks.modular import Modular

if TYPE_CHECKING:
    from rich.console import Console

    from alambique.evaluation.leaderboard import Leaderboard
    from alambique.report.pictures import Picture
    from alambique.tasks.heads.shapes import Shapes


def measures_of(matches: str, boxes: bool = True) -> dict[str, Measure]:
    """What is measured of a head.

    Args:
        matches: when an answer is right, in words.
        boxes: whether the boxes around the objects are measured beside it.
    """
    box = {"box_map50_95": Measure("box mAP50-95", about="the same, of the boxes around the objects")}
    return {
        "map50_95": Measure(
            "mAP50-95",
            shown=True,
            about=f"mean over the classes of average precision, computed by Ultralytics; {matches}, 0.50, 0.55 … 0.95",
        ),
        "map50": Measure("mAP50", shown=True, about="the same at 0.50 alone"),
        **(box if boxes else {}),
        "f1": Measure("F1", about="at the threshold of deployment, matched at 0.50"),
        "confidence": Measure(
            "score if right",
            "number",
            about="mean over the right detections; falls with a collapse of confidence, which mAP does not see",
        ),
        "ece": Measure(
            "calibration error", "number", lower_is_better=True, about="how far scores are from being right so often"
        ),
    }


class HeadTask(Modular):
    """The task protocol for networks with a head; there is a class for each. Modules are imported when a stage runs."""

    head: ClassVar[Head]
    package = "alambique.tasks.heads"
    about: ClassVar[str]
    measures: ClassVar[Mapping[str, Measure]]
    samples: ClassVar[str] = "images"
    by_class: ClassVar[Mapping[str, Measure]] = {
        "ap": Measure("AP", about="average precision as of the headline; a class that no test image holds has none"),
        "recall": Measure("recall", about="share of a class's objects found at the threshold of deployment"),
    }
    methods: ClassVar[tuple[str, ...]] = ("feature", "pseudo", "hybrid", "none")
    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def adopt(self, source: str, target: Path) -> None:
        from alambique.data.import_dataset import import_dataset

        import_dataset(source, target)

    def data(self, root: Path) -> Shapes:
        from alambique.tasks.heads.shapes import Shapes

        return Shapes.of(root, self.head)

    def facts(self, root: Path, params: Heads) -> Facts:
        from alambique.data import contract, manifest

        dataset = self.data(root)
        found = manifest.build(dataset)
        promised = contract.suites(len(dataset.classes), params.validation.min_boxes_per_class)
        return Facts(found.tables, promised, manifest.counts(dataset, found))

    def pictures(self, project: Path, params: Heads, board: Leaderboard) -> list[Picture]:
        from alambique.tasks.heads.pictures import choose

        return choose(project, params, board)

    def inspect(self, project: Path, output: Path, console: Console) -> None:
        from alambique.tasks.heads.inspect import show

        show(project, self.head, output, console)

    def inspect_sample(self, project: Path, sample: str, console: Console) -> None:
        from alambique.tasks.heads.inspect import show_image

        show_image(project, self.head, sample, console)

    def resample(self, evaluations: Sequence[Path]) -> Resampled:
        from alambique.tasks.detect.bootstrap import resample

        return resample(evaluations)

    def tensors(self, card: Mapping[str, Any]) -> tuple[Tensors, Tensors]:
        from alambique.tasks.heads.answers import points_of

        # The same on every runtime: boxes, scores and classes, then the points of each object.
        count, numbers = points_of(self.head, _kpt_shape(card))
        size = card["image_size"]
        return [("float32", [1, 3, size, size])], [("float32", [1, -1, 6 + count * numbers])]

    def predictor(self, folder: Path, threads: int) -> Callable[..., NDArray[Any]]:
        from alambique.tasks.cards import read_card
        from alambique.tasks.heads import engines
        from alambique.tasks.heads.answers import decode, points_of, rows_of

        card, predict = read_card(folder), engines.load(folder, threads)
        count, numbers = points_of(self.head, _kpt_shape(card))

        def answer(image: NDArray[np.float32]) -> NDArray[np.float32]:
            outputs = predict(image)
            rows = rows_of(outputs, len(card["classes"]), 0.0, len(outputs[0][0]))
            found = decode(self.head, outputs, rows, _kpt_shape(card), card["image_size"])
            points = found.points.reshape(len(rows), count * numbers)
            return np.column_stack((found.boxes, found.scores, found.classes, points)).astype(np.float32)[None]

        return answer

    def runner(self, folder: Path, threads: int) -> Callable[[], None]:
        from alambique.tasks.cards import read_card
        from alambique.tasks.heads import engines

        size = read_card(folder)["image_size"]
        predict = engines.load(folder, threads)
        noise = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)

        def run() -> None:
            predict(noise)

        return run


def _kpt_shape(card: Mapping[str, Any]) -> tuple[int, int]:
    count, numbers = card["output"].get("kpt_shape", (0, 0))
    return count, numbers


class Segment(HeadTask):
    head = "segment"
    about = "outline each object in images: YOLO26 with masks"
    measures = measures_of("masks match by the IoU of their pixels")


class Pose(HeadTask):
    head = "pose"
    about = "find objects in images and each one's keypoints: YOLO26 with poses"
    measures = measures_of("poses match by the object keypoint similarity")


class Obb(HeadTask):
    head = "obb"
    about = "find objects in images by boxes that are turned: YOLO26"
    measures = measures_of("boxes match by the probabilistic IoU of turned rectangles", boxes=False)


SEGMENT, POSE, OBB = Segment(), Pose(), Obb()
