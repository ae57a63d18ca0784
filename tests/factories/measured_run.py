"""A run whose figures are made up: what `compare` reads, without training, exporting or timing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from alambique import config
from alambique.files import write_json
from alambique.layout import DATA, METRICS, EvaluationTarget, Seeded, evaluation, evaluation_metrics, evaluation_targets
from alambique.tasks.yolo import average_precision, evaluate
from alambique.tasks.yolo.dataset import YoloDataset

QUALITY = {"teacher": 0.66, "control": 0.55, "distilled": 0.58, "pruned": 0.57, "candidate": 0.565, "champion": 0.5}
QUALITY |= {"start": 0.56, "labelled": 0.57}
SIZES = {"teacher": 5.4e6, "pruned": 1.1e6, "candidate": 1.0e6, **dict.fromkeys(get_args(Seeded), 1.6e6)}


def write(project: Path, champions: tuple[str, ...] = (), **quality: float) -> None:
    """Write metrics/ and evaluations/ for all subjects of the project's params.

    Args:
        champions: the runtimes that have one.
        quality: of kinds that are not to have that of `QUALITY`.
    """
    params, dataset = config.load(project), YoloDataset.load(project / DATA)
    qualities = QUALITY | quality
    kinds = (params.teachers, params.students, params.seeds, params.runtimes, params.int8, params.ablations)
    named = list(evaluation_targets(*kinds))
    present = [subject for subject in named if subject.kind != "champion" or subject.runtime in champions]
    for seed, subject in enumerate(named):
        metrics = {"subject": subject.name, "present": False}
        found: list[dict[str, Any]] = []
        if subject in present:
            metrics = _metrics(subject, dataset, qualities[subject.kind])
            found = _found(dataset, qualities[subject.kind], np.random.default_rng(seed))
        (project / evaluation(subject.name)).mkdir(parents=True, exist_ok=True)
        evaluate.write_results(project / evaluation(subject.name) / "images.arrow", found)
        write_json(project / evaluation_metrics(subject.name), metrics)
    timed = [subject for subject in present if subject.runtime]
    latencies = {subject.name: _latency(subject) for subject in timed}
    conditions = {"cpu": "Abacus 9000", "device": "cpu", "threads": 1, "runs": 100, "input_size": params.input_size}
    write_json(project / METRICS / "benchmark.json", {**conditions, "latencies": latencies})


def _metrics(subject: EvaluationTarget, dataset: YoloDataset, quality: float) -> dict[str, Any]:
    small = 0.3 if subject.precision == "int8" else 1.0
    quality -= 0.01 if subject.precision == "int8" else 0
    artifact: dict[str, Any] = {"digest": f"digest of {subject.name}", "candidate": subject.name}
    if subject.kind == "candidate":
        differences = {"max_score_difference": 0.0123, "max_output_difference": 1.75}
        artifact["parity"] = {"samples": len(dataset.images("test")), "agreement": 0.987, **differences}
    if subject.kind == "champion":
        artifact["candidate"] = f"older-{subject.runtime}-int8"
    return {
        "subject": subject.name,
        "present": True,
        "split": "test",
        "data": dataset.digest("test"),
        "images": len(dataset.images("test")),
        "map50_95": quality,
        "map50": quality + 0.25,
        "ap": {name: quality - 0.02 * index for index, name in enumerate(dataset.classes)},
        "f1": quality + 0.2,
        "recall": {name: quality + 0.03 * index for index, name in enumerate(dataset.classes)},
        "ece": 0.0456,
        "confidence": 0.789,
        "parameters": None if subject.runtime else 2_500_000 if subject.kind == "teacher" else 680_000,
        "macs": None if subject.runtime else 700_000_000 if subject.kind == "teacher" else 210_000_000,
        "size_bytes": SIZES.get(subject.kind, 1e6) * small,
        **(artifact if subject.runtime else {"sha256": f"sha256 of {subject.name}"}),
    }


def _latency(subject: EvaluationTarget) -> dict[str, Any]:
    base = {"onnx": 4.2, "openvino": 3.1}[str(subject.runtime)] * (0.6 if subject.precision == "int8" else 1)
    times = [base * (1 + run / 1000) for run in range(-50, 50)]
    percentiles = {"p50_ms": base, "p95_ms": base * 1.2, "p99_ms": base * 1.5, "mean_ms": base * 1.05, "n": 100}
    return {**percentiles, "cold_start_ms": 81.5, "peak_memory_mb": 43.2, "times_ms": times}


def _found(dataset: YoloDataset, quality: float, chance: np.random.Generator) -> list[dict[str, Any]]:
    """The true boxes, all of them moved, and some of them missed, the more the lower the quality."""
    rows = []
    for image in dataset.images("test"):
        labels = dataset.boxes(image)
        truth, classes = _corners(labels), labels[:, 0].astype(np.int64)
        seen = chance.random(len(labels)) < quality + 0.3
        boxes = np.clip(truth[seen] + chance.normal(0, 0.02, truth[seen].shape), 0, 1).astype(np.float32)
        scores = np.sort(chance.uniform(0.2, 0.95, len(boxes)))[::-1].astype(np.float32)
        matched = average_precision.match(average_precision.Detections(boxes, scores, classes[seen]), truth, classes)
        rows.append(
            {
                "image": image.relative_to(dataset.root / "images").as_posix(),
                "boxes": boxes.tolist(),
                "scores": scores.tolist(),
                "classes": classes[seen].tolist(),
                "correct": average_precision.pack(matched.correct).tolist(),
                "truth": classes.tolist(),
            }
        )
    return rows


def _corners(labels: NDArray[np.float64]) -> NDArray[np.float32]:
    centers, sizes = labels[:, 1:3], labels[:, 3:5]
    return np.hstack([centers - sizes / 2, centers + sizes / 2]).astype(np.float32)
