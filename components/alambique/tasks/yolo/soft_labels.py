"""The teachers' predictions of the images that distillation needs, as soft labels: a detector's boxes with their class
logits, several teachers' fused; of the other heads the one teacher's objects with their points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.tal import dist2bbox, make_anchors

from alambique.config import detect, heads
from alambique.errors import IntegrityError
from alambique.layout import WEIGHTS
from alambique.tasks.yolo import network, onnx_teacher
from alambique.tasks.yolo.dataset import YoloDataset
from alambique.tasks.yolo.decoding import point_shape
from alambique.tasks.yolo.export import open_checkpoint
from alambique.tasks.yolo.export_head import IOU
from alambique.tasks.yolo.matching import Predictor
from alambique.tasks.yolo.preprocess import DESCRIPTION, Letterbox, Resize, preprocess, restore, to_shares
from alambique.tasks.yolo.soft_label_rows import BoxLabels, BoxRecipe, ObjectLabels, ObjectRecipe
from alambique.tasks.yolo.teacher_fusion import TeacherBoxes, choose_experts, fuse

SPLITS = ("train", "unlabelled", "val")
"""What detection's teachers predict. No student is trained on val or test: val calibrates the teachers' scores."""
OBJECT_SPLITS = ("train", "unlabelled")
"""What the other heads' teacher predicts."""

BATCH = 16


class BoxTeacher(NamedTuple):
    """A detector that gives soft labels.

    Attributes:
        predict: boxes and class logits of each image of a batch; see `predict_raw`.
        suppress: whether several boxes are of one object, so that overlapping ones are suppressed.
        resize: how images come into its input; see `preprocess`.
    """

    predict: Callable[[Tensor], tuple[Iterable[Tensor], Iterable[Tensor]]]
    suppress: bool
    resize: Resize = "letterbox"

    @classmethod
    def of(cls, model: DetectionModel) -> Self:
        """A network, in evaluation mode."""
        return cls(partial(predict_raw, model), not network.has_one_to_one(model))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The one in a checkpoint's folder, on the GPU where there is one."""
        if onnx_teacher.is_one(folder):
            detector = onnx_teacher.Detector.open(folder, torch.get_num_threads())
            reading = detector.reading
            return cls(detector.predict, reading.layout == "raw", reading.resize)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls.of(network.load(folder / WEIGHTS).eval().to(device))


def recipe(
    cards: Sequence[Mapping[str, Any]], dataset: YoloDataset, settings: detect.SoftLabels | heads.SoftLabels
) -> BoxRecipe | ObjectRecipe:
    """What decides the soft labels of today's images, teachers and parameters.

    Raises:
        IntegrityError: a teacher was trained for other classes than today's.
    """
    for card in cards:
        if card["classes"] != dataset.classes:
            raise IntegrityError(
                f"a teacher was trained for the classes {card['classes']}, but the dataset's are {dataset.classes}; "
                "run the teacher stage again (`dvc repro teacher`)"
            )
    splits = SPLITS if isinstance(settings, detect.SoftLabels) else OBJECT_SPLITS
    shared: dict[str, Any] = {
        "teachers": [card["sha256"] for card in cards],
        "data": {split: dataset.digest(split) for split in splits if dataset.has(split)},
        "preprocessing": DESCRIPTION,
        "classes": dataset.classes,
        **settings.model_dump(exclude={"shards"}),
    }
    if isinstance(settings, detect.SoftLabels):
        by_class = settings.combine == "best_per_class"
        experts = choose_experts(cards, dataset.classes) if by_class else None
        return BoxRecipe(**shared, experts=experts, image_sizes=[card["image_size"] for card in cards])
    return ObjectRecipe(
        **shared,
        combine="one",
        top_k=1,
        head=dataset.head,
        image_size=cards[0]["image_size"],
        numbers=point_shape(dataset.head, dataset.kpt_shape),
    )


def compute(
    teachers: Sequence[Path], dataset: YoloDataset, recipe: BoxRecipe | ObjectRecipe, shard: int, shards: int
) -> Iterator[BoxLabels | ObjectLabels]:
    """The rows of one shard, every n-th image from its number on, by name; teachers are in the recipe's order."""
    images = sorted(image for split in recipe.data for image in dataset.images(split))[shard::shards]
    if isinstance(recipe, ObjectRecipe):
        yield from _objects(teachers[0], dataset, images, recipe)
        return
    yield from boxes([BoxTeacher.open(folder) for folder in teachers], dataset, images, recipe)


def _objects(
    teacher: Path, dataset: YoloDataset, images: Sequence[Path], recipe: ObjectRecipe
) -> Iterator[ObjectLabels]:
    program = open_checkpoint(teacher / WEIGHTS, recipe.head, torch.get_num_threads())
    kept = detect.Evaluate(min_score=recipe.min_score, max_boxes=recipe.max_boxes)
    predictor = Predictor.of(program, dataset.classes, recipe.image_size, dataset, kept)
    for image in images:
        objects, letterbox = predictor.predict(image)
        points = to_shares(objects.points, letterbox)
        yield ObjectLabels(
            image=dataset.inside(image),
            boxes=restore(objects.boxes, letterbox).astype(np.float16),
            scores=objects.scores.astype(np.float16),
            classes=objects.classes.astype(np.int16),
            points=points.reshape(len(points), math.prod(recipe.numbers)).astype(np.float16),
        )


def boxes(
    teachers: Sequence[BoxTeacher], dataset: YoloDataset, images: Sequence[Path], recipe: BoxRecipe
) -> Iterator[BoxLabels]:
    """The teachers' soft labels, image by image, in the order of `images`.

    Args:
        teachers: in the recipe's order.
        recipe: what to keep, and how several teachers' boxes become one's.
    """
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        sizes = zip(teachers, recipe.image_sizes, strict=True)
        predictions = [_predict(teacher, batch, size, recipe) for teacher, size in sizes]
        for image, *by_teacher in zip(batch, *predictions, strict=True):
            single = len(by_teacher) == 1
            fused = by_teacher[0] if single else _best(fuse(by_teacher, recipe.experts), recipe)
            yield _row(dataset.inside(image), fused, recipe)


def _predict(teacher: BoxTeacher, images: Sequence[Path], image_size: int, recipe: BoxRecipe) -> list[TeacherBoxes]:
    """One teacher's best boxes of each image."""
    given = (preprocess(image, image_size, teacher.resize) for image in images)
    inputs, letterboxes = zip(*given, strict=True)
    predictions = zip(*teacher.predict(torch.from_numpy(np.concatenate(inputs))), letterboxes, strict=True)
    return [_select(*prediction, recipe, teacher.suppress) for prediction in predictions]


@torch.inference_mode()
def predict_raw(model: DetectionModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the head gives before anything is suppressed: one box and one logit per class for each anchor.

    A one-to-one head, where there is one, is trained to fire once per object, so what it gives needs no suppression.

    Args:
        model: in evaluation mode.
        images: (batch, 3, size, size), RGB, 0 to 1.
    Returns:
        boxes, x1, y1, x2, y2 in input pixels, (batch, anchors, 4); and class logits, (batch, anchors, classes); on the
        CPU, wherever the model is.
    """
    branches = model(images.to(next(model.parameters()).device))[1]
    branch = branches["one2one"] if network.has_one_to_one(model) else branches
    anchors, strides = make_anchors(branch["feats"], model.stride, 0.5)
    distances = model.model[-1].dfl(branch["boxes"])
    decoded = dist2bbox(distances.permute(0, 2, 1), anchors, xywh=False) * strides
    return decoded.cpu(), branch["scores"].permute(0, 2, 1).cpu()


def _select(raw_boxes: Tensor, logits: Tensor, letterbox: Letterbox, recipe: BoxRecipe, suppress: bool) -> TeacherBoxes:
    """A teacher's best boxes of an image, best first, in the image's own coordinates."""
    corners = restore(raw_boxes.numpy(), letterbox)
    rounded = corners.astype(np.float16)
    outside = (rounded[:, 2:] <= rounded[:, :2]).any(1)  # wholly in the border of the letterbox
    inside = TeacherBoxes(torch.from_numpy(corners), logits).take(torch.from_numpy(~outside))
    if suppress:
        inside = inside.take(inside.scores >= recipe.min_score)
        # Whatever their classes: a box has the logits of all of them, so a second one there would say the same twice.
        inside = inside.take(nms(inside.boxes, inside.scores, IOU))
    return _best(inside, recipe)


def _best(every: TeacherBoxes, recipe: BoxRecipe) -> TeacherBoxes:
    scores = every.scores
    order = scores.topk(min(recipe.max_boxes, len(scores))).indices
    return every.take(order[scores[order] >= recipe.min_score])


def _row(image: str, fused: TeacherBoxes, recipe: BoxRecipe) -> BoxLabels:
    """An image's row of the cache: its boxes with their likeliest classes."""
    top = fused.logits.topk(recipe.width, dim=1)
    return BoxLabels(
        image=image,
        boxes=fused.boxes.numpy().astype(np.float16),
        logits=top.values.numpy().astype(np.float16),
        classes=top.indices.numpy().astype(np.int16),
        scores=fused.scores.numpy().astype(np.float16),
    )


def shard_metrics(totals: Sequence[tuple[str, Mapping[str, float]]]) -> dict[str, Any]:
    images = len(totals)
    count = int(sum(total["boxes"] for _, total in totals))
    return {
        "images": images,
        "unlabelled_images": sum(image.startswith("unlabelled/") for image, _ in totals),
        "boxes": count,
        "boxes_per_image": count / max(images, 1),
        "mean_score": sum(total["scores"] for _, total in totals) / max(count, 1),
    }


def row_totals(row: BoxLabels | ObjectLabels) -> dict[str, float]:
    return {"boxes": row.scores.size, "scores": float(row.scores.sum(dtype=float))}
