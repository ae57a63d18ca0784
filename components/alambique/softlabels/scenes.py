"""Pictures for the page: an image of the cache, or a view of it, with labelled boxes and the teachers'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alambique.data.dataset import Dataset
from alambique.report import pictures
from alambique.report.pictures import Boxes
from alambique.softlabels.inspect import DEPLOYED
from alambique.softlabels.key import STRIDES, BoxesRecipe, ViewsRecipe
from alambique.softlabels.reader import Cache
from alambique.softlabels.schema import SoftLabels, SoftViews
from alambique.softlabels.summary import chances
from alambique.tasks.detect.samples import corners
from alambique.tasks.detect.views import ViewDataset


class Mark(NamedTuple):
    """A box in a picture, in its pixels; a teacher's has a score and says its probabilities when pointed at."""

    x: float
    y: float
    width: float
    height: float
    color: str
    score: float
    title: str


class Scene(NamedTuple):
    """A picture with its boxes.

    Attributes:
        name: of the image, and of the view.
        source: data URI of its pixels.
        width, height: of these, pixels.
        labelled: boxes that people drew.
        taught: the teachers' boxes, the best last, so that none covers it.
    """

    name: str
    source: str
    width: int
    height: int
    labelled: list[Mark]
    taught: list[Mark]


def painter(cache: Cache[Any], data: Dataset) -> Callable[[str], Scene]:
    """What makes a scene of an image's name: of views it renders the first one again.

    Raises, when it is called:
        IntegrityError: this machine draws another view than the teachers saw.
    """
    if isinstance(cache.recipe, BoxesRecipe):
        return lambda name: _of_image(data, cache[name])
    views = ViewDataset(data, cache.recipe, cache)
    return lambda name: _of_view(views, cache[name])


def _of_image(data: Dataset, row: SoftLabels) -> Scene:
    path = data.root / "images" / row.image
    image, truth = pictures.load(path), pictures.labelled(data, path)
    return _scene(row.image, image, truth, row, data.classes)


def _of_view(views: ViewDataset, row: SoftViews, view: int = 0) -> Scene:
    item = views[views.names.index(row.image), view]
    image = Image.fromarray(item["img"].permute(1, 2, 0).numpy())
    places, classes = corners(item["bboxes"].numpy()), item["cls"][:, 0].numpy().astype(np.int64)
    truth = Boxes(places, np.full(len(places), np.nan, np.float32), classes)
    return _scene(f"{row.image}, view {view}", image, truth, sure(row, view, views.recipe), views.recipe.classes)


def sure(row: SoftViews, view: int, recipe: ViewsRecipe) -> SoftLabels:
    """The boxes of a view's anchors that score enough for a picture, in shares of the view."""
    scores = row.scores[view, DEPLOYED]
    kept = scores >= pictures.MIN_SCORE
    anchors, logits, classes, distances = (
        part[view, DEPLOYED][kept] for part in (row.anchors, row.logits, row.classes, row.boxes)
    )
    centres, cells = _grid(recipe)
    places = np.hstack((centres[anchors] - distances[:, :2], centres[anchors] + distances[:, 2:])) / cells[anchors]
    return SoftLabels(row.image, places.clip(0, 1), logits, classes, scores[kept])


def _grid(recipe: ViewsRecipe) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each anchor's centre, x and y in cells of its level, (anchors, 2), and a side's number of cells, (anchors, 1)."""
    sides = [recipe.image_size // stride for stride in STRIDES]
    centres = [np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) + 0.5 for side in sides]
    return np.concatenate(centres), np.repeat(sides, [side**2 for side in sides])[:, None]


def _scene(name: str, image: Image.Image, truth: Boxes, row: SoftLabels, classes: Sequence[str]) -> Scene:
    size = np.array(image.size)
    labelled = [_mark(box, size, index) for box, index in zip(truth.boxes, truth.classes, strict=True)]
    taught = [
        _mark(box, size, kept[0], float(score), chances(logits, kept, classes))
        for box, score, logits, kept in zip(row.boxes, row.scores, row.logits, row.classes, strict=True)
    ]
    return Scene(name, pictures.data_uri(image), *image.size, labelled, taught[::-1])


def _mark(box: NDArray[np.floating], size: NDArray[np.int64], index: int, score: float = 1.0, title: str = "") -> Mark:
    corner, extent = box[:2] * size, (box[2:] - box[:2]) * size
    x, y, width, height = (round(float(value), 1) for value in (*corner, *extent))
    return Mark(x, y, width, height, pictures.color(int(index)), score, title)
