from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from factories.reference_formulas import plain_kl
from factories.tiny_detection import CLASSES, NETWORK
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

from alambique.tasks.yolo import network
from alambique.tasks.yolo.distillation_loss import KD_LOSS, PROGRESS, TEACHER, WEIGHT, DistillationLoss

SIZE = 64


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    model = network.build(NETWORK, CLASSES, 0)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=10)
    return model


def batch() -> dict[str, Tensor]:
    """Two boxes in the first image, none in the second, one in the third; each has a class the teacher is sure of."""
    boxes = torch.tensor([[0.25, 0.25, 0.4, 0.4], [0.75, 0.75, 0.4, 0.4], [0.5, 0.5, 0.5, 0.5]])
    sure = torch.full((3, len(CLASSES)), -2.0)
    sure[range(3), [1, 5, 8]] = 6.0
    return {
        "img": torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)),
        "batch_idx": torch.tensor([0.0, 0.0, 2.0]),
        "cls": torch.tensor([[1.0], [5.0], [8.0]]),
        "bboxes": boxes,
        TEACHER: sure,
        WEIGHT: torch.ones(3, 1),
        PROGRESS: 0.0,
    }


def soft(model: DetectionModel, weight: float = 0.5) -> DistillationLoss:
    return DistillationLoss(model, temperature=2.0, weight=weight, tal_topk=7, tal_topk2=1)


def test_boxes_without_a_teacher_are_learned_exactly_as_upstream_does(model: DetectionModel) -> None:
    given = {**batch(), TEACHER: torch.full((3, len(CLASSES)), torch.nan)}
    outputs = model(given["img"])["one2many"]
    ours, items = DistillationLoss(model, temperature=2.0, weight=0.5).loss(outputs, given)
    theirs, _ = v8DetectionLoss(model).loss(outputs, given)
    assert torch.equal(ours[:3], theirs)
    assert ours[3] == items[KD_LOSS] == 0


def test_every_anchor_is_drawn_to_the_teacher_of_its_own_box(model: DetectionModel) -> None:
    given = batch()
    outputs = dict(model(given["img"])["one2one"])
    outputs["scores"] = outputs["scores"].detach().zero_().requires_grad_()
    losses, _ = soft(model).loss(outputs, given)
    (gradient,) = torch.autograd.grad(losses[3], outputs["scores"], retain_graph=False)
    images, anchors = gradient.abs().sum(1).nonzero(as_tuple=True)
    # The one-to-one branch gives each box one anchor; the image without boxes gets none.
    assert images.tolist() == [0, 0, 2]
    drawn_to = gradient[images, :, anchors].argmin(1)
    centres = [anchor_centre(outputs, int(anchor)) for anchor in anchors]
    assert drawn_to.tolist() == [
        owner(given, int(image), centre) for image, centre in zip(images, centres, strict=True)
    ]


def anchor_centre(outputs: dict[str, Tensor], anchor: int) -> tuple[float, float]:
    """Where an anchor lies, in shares of the image."""
    for level in outputs["feats"]:
        height, width = level.shape[2:]
        if anchor < height * width:
            return (anchor % width + 0.5) / width, (anchor // width + 0.5) / height
        anchor -= height * width
    raise IndexError(anchor)


def owner(given: dict[str, Tensor], image: int, centre: tuple[float, float]) -> int:
    """The class of the box which holds a point."""
    for index, (x, y, width, height) in zip(given["batch_idx"], given["bboxes"], strict=True):
        if index == image and abs(centre[0] - x) < width / 2 and abs(centre[1] - y) < height / 2:
            return int(given["cls"][(given["bboxes"] == torch.stack((x, y, width, height))).all(1)][0])
    raise LookupError(centre)


def test_the_divergence_is_the_mean_over_the_boxes_with_teacher_logits(model: DetectionModel) -> None:
    given = batch()
    given[TEACHER][1] = torch.nan
    outputs = dict(model(given["img"])["one2one"])
    outputs["scores"] = torch.zeros_like(outputs["scores"])
    losses, items = soft(model, weight=0.5).loss(outputs, given)
    flat = [0.0] * len(CLASSES)
    expected = sum(plain_kl(flat, given[TEACHER][box].tolist(), 2.0) for box in (0, 2)) / 2
    assert items[KD_LOSS].item() == pytest.approx(expected, rel=1e-5)
    assert losses[3].item() == pytest.approx(3 * 0.5 * expected, rel=1e-5)  # upstream's losses grow with the batch


def test_a_batch_without_boxes_has_no_divergence(model: DetectionModel) -> None:
    given = {name: value if name in {"img", PROGRESS} else value[:0] for name, value in batch().items()}
    losses, items = soft(model).loss(model(given["img"])["one2one"], given)
    assert items[KD_LOSS] == 0
    assert losses.isfinite().all()


def test_a_lone_class_learns_the_teachers_sigmoid() -> None:
    model = network.build(NETWORK, ["thing"], 0)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=10)
    given = {**batch(), "cls": torch.zeros(3, 1), TEACHER: torch.full((3, 1), 2.0)}
    outputs = dict(model(given["img"])["one2one"])
    outputs["scores"] = torch.zeros_like(outputs["scores"])
    _, items = DistillationLoss(model, temperature=1.0, weight=1.0, tal_topk=7, tal_topk2=1).loss(outputs, given)
    yes = 1 / (1 + math.exp(-2.0))
    expected = yes * math.log(yes / 0.5) + (1 - yes) * math.log((1 - yes) / 0.5)
    assert items[KD_LOSS].item() == pytest.approx(expected, rel=1e-5)


def test_both_branches_learn_from_the_teacher() -> None:
    model = network.build(NETWORK, CLASSES, 0).train()
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=10)
    criterion = E2ELoss(model, loss_fn=soft_branch)
    given = batch()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    history = []
    for _ in range(15):
        outputs = model(given["img"])
        each = [branch.loss(outputs[name], given)[1][KD_LOSS].item() for name, branch in branches(criterion)]
        history.append(each)
        optimizer.zero_grad()
        criterion(outputs, given)[0].sum().backward()
        optimizer.step()
    for before, after in zip(history[0], history[-1], strict=True):
        assert 0 < after < 0.7 * before


def soft_branch(*positional: object, **named: object) -> DistillationLoss:
    return DistillationLoss(*positional, temperature=2.0, weight=0.5, **named)  # type: ignore[arg-type, misc]


def branches(criterion: E2ELoss) -> list[tuple[str, DistillationLoss]]:
    return [("one2many", criterion.one2many), ("one2one", criterion.one2one)]


def test_a_box_counts_by_its_weight(model: DetectionModel) -> None:
    given = batch()
    outputs = dict(model(given["img"])["one2one"])
    outputs["scores"] = torch.full_like(outputs["scores"], -20.0)  # background costs nothing: only the boxes do

    def loss(weights: list[float]) -> Tensor:
        return soft(model).loss(outputs, {**given, WEIGHT: torch.tensor(weights)[:, None]})[0]

    alone = [loss([float(other == box) for other in range(3)]) for box in range(3)]
    assert loss([0.0, 0.0, 0.0])[:3].max() < 1e-4
    assert all(each[1] > 1 for each in alone)
    # The targets' sum, by which upstream divides, is below the 1 at which it stops: the loss is linear in them.
    assert loss([1.0, 0.5, 0.0])[1].item() == pytest.approx((alone[0][1] + 0.5 * alone[1][1]).item(), rel=1e-4)


def test_an_annealed_divergence_is_reported_but_not_minimised(model: DetectionModel) -> None:
    given = {**batch(), PROGRESS: 1.0}
    outputs = model(given["img"])["one2one"]
    losses, items = DistillationLoss(model, 2.0, 0.5, anneal=0.5, tal_topk=7, tal_topk2=1).loss(outputs, given)
    assert losses[3] == 0
    assert items[KD_LOSS] > 0
