"""Samples as an Ultralytics dataset, whose augmentation moves the teacher's logits along with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ultralytics.data.augment import Format
from ultralytics.data.dataset import YOLODataset

from alambique.tasks.yolo.dataset import Sample, YoloDataset


class SampleFormat(Format):  # type: ignore[misc]
    """Upstream's, but an image without boxes keeps the width of its targets, so that a batch can be put together."""

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        formatted: dict[str, Any] = super().apply_instances(labels, params)
        if not params["nl"]:
            formatted["cls"] = torch.zeros(0, params["cls"].shape[1])
        return formatted


class SampleDataset(YOLODataset):  # type: ignore[misc]
    """Upstream's dataset over samples in memory.

    Upstream reads labels itself, writes a cache beside them and repairs JPEGs in place; a versioned dataset is
    read-only. Mosaic, affine and flip index and join the rows of `cls` as they do boxes, so its further columns, the
    teacher's logits, stay with their box.
    """

    format_class = SampleFormat

    def __init__(self, samples: Sequence[Sample], **arguments: Any) -> None:
        self.samples = samples  # what the two methods below read while upstream's constructor runs
        super().__init__(img_path="", **arguments)

    def get_img_files(self, img_path: str) -> list[str]:
        return [str(sample.image) for sample in self.samples]

    def get_labels(self) -> list[dict[str, Any]]:
        return [
            {
                "im_file": str(sample.image),
                "cls": sample.targets,
                "bboxes": sample.boxes,
                "segments": [],
                "keypoints": None,
                "normalized": True,
                "bbox_format": "xywh",
                **_points(sample, self.data),
            }
            for sample in self.samples
        ]


def open_samples(samples: Sequence[Sample], dataset: YoloDataset, **settings: Any) -> SampleDataset:
    """Samples as Ultralytics' trainers read them; `settings` of `YOLODataset`: imgsz, batch_size, augment, hyp."""
    return SampleDataset(samples, data=dataset.described(), task=dataset.head, **settings)


def _points(sample: Sample, data: dict[str, Any]) -> dict[str, Any]:
    if "kpt_shape" not in data:
        return {"segments": list(sample.points)}
    return {"keypoints": np.array(sample.points, np.float32).reshape(-1, data["kpt_shape"][0], 3)}
