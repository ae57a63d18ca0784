from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.cfg import get_cfg

from alambique.tasks.yolo.sample_dataset import SampleDataset
from alambique.tasks.yolo.samples import Sample

SIZE = 64
CLASSES = 3
COLORS = [(250, 30, 30), (30, 250, 30), (30, 30, 250), (250, 250, 30), (250, 30, 250), (30, 250, 250)]


@pytest.fixture
def painted(tmp_path: Path) -> list[Sample]:
    """Three images with two rectangles each, every rectangle of its own colour, and one image without any.

    A rectangle's teacher logits are its number in `COLORS`, so that what the image shows tells which logits belong.
    """
    made = []
    for index in range(3):
        pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
        pixels[8:28, 6:26] = COLORS[2 * index]
        pixels[36:56, 34:60] = COLORS[2 * index + 1]
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        boxes = np.array([[16, 18, 20, 20], [47, 46, 26, 20]], np.float32) / SIZE
        targets = np.array([[0, *[number] * CLASSES] for number in (2 * index, 2 * index + 1)], np.float32)
        made.append(Sample(tmp_path / f"{index}.png", boxes, targets))
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "empty.png")
    empty = Sample(tmp_path / "empty.png", np.zeros((0, 4), np.float32), np.zeros((0, 1 + CLASSES), np.float32))
    return [*made, empty]


def augmented(painted: list[Sample], mosaic: float) -> SampleDataset:
    # Colours tell the rectangles apart here, so they stay.
    settings = get_cfg(overrides={"mosaic": mosaic, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "fliplr": 0.5})
    return SampleDataset(
        painted, data={"names": {0: "thing"}, "channels": 3}, imgsz=SIZE, batch_size=4, augment=True, hyp=settings
    )


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_a_box_keeps_its_own_teacher_through_augmentation(painted: list[Sample], mosaic: float) -> None:
    dataset = augmented(painted, mosaic)
    numbers = []
    for _ in range(15):
        for index in range(len(dataset)):
            item = dataset[index]
            for target, (x, y, _, _) in zip(item["cls"], item["bboxes"], strict=True):
                pixel = item["img"][:, int(y * SIZE), int(x * SIZE)].numpy().astype(int)
                number = int(target[1])
                assert np.abs(pixel - COLORS[number]).max() < 60, f"a box with logits {number} shows {pixel}"
                numbers.append(number)
    assert set(numbers) == set(range(6))


def test_mosaic_joins_boxes_of_several_images(painted: list[Sample]) -> None:
    dataset = augmented(painted, mosaic=1.0)
    for index in range(len(dataset)):
        dataset[index]  # partners are drawn from the images loaded lately
    origins = [{int(number) // 2 for number in dataset[0]["cls"][:, 1]} for _ in range(20)]
    assert any(len(images) > 1 for images in origins)


def test_images_without_boxes_join_a_batch(painted: list[Sample]) -> None:
    dataset = augmented(painted, mosaic=0.0)
    batch = dataset.collate_fn([dataset[0], dataset[3], dataset[1]])
    assert batch["cls"].shape == (len(batch["bboxes"]), 1 + CLASSES)
    assert 1 not in batch["batch_idx"].tolist()
    alone = dataset.collate_fn([dataset[3], dataset[3]])
    assert alone["cls"].shape == torch.Size((0, 1 + CLASSES))
