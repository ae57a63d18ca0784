"""What the pipeline makes of a YOLO26n: the pruned and quantized artifact, against what `yolo export` gives.

    python -m benchmarks.compression --data PATH --weights yolo26n.pt [--quick]

A YOLO26n that was fine-tuned and distilled on the data (see benchmarks/student_yolo26n.py) is pruned by 68 % of its
multiply-accumulates, recovers for 780 steps and becomes INT8 for OpenVINO, by the product's own stages. Beside it stand
the same student unpruned as an FP32 ONNX, and the pruned one in FP32 for OpenVINO. All answer one image at 320 px on
one thread of a pinned core, taking turns; a ratio is one within a round. What is trained is kept in benchmarks/.runs.

speedup               latency of the unpruned FP32 ONNX / of the INT8 artifact
size_ratio            the same in bytes
speedup_same_runtime  latency of the pruned FP32 artifact on the same runtime / of the INT8 artifact
map_drop              points of test mAP50-95, unpruned FP32 ONNX − INT8 artifact; paired over test images
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from alambique import layout, tasks
from alambique.files import read_json
from alambique.layout import Candidate
from alambique.process.timing import measure, pinned, summarize
from alambique.stages.benchmark import runner
from benchmarks import common, student_yolo26n
from benchmarks.common import Row
from benchmarks.stage_runs import Stage, do, gain

SHARE, STEPS = 0.68, 780
THREADS = 1
WHOLE, PRUNED, FINAL = (
    Candidate(student_yolo26n.STUDENT, *made) for made in (("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "int8"))
)

Artifacts = dict[Candidate, Path]
"""The project that each artifact was made in."""


def main(
    data: Annotated[Path | None, typer.Option(help="A dataset in YOLO layout, such as BCCD.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A COCO checkpoint of YOLO26n.")] = None,
    quick: Annotated[bool, typer.Option(help="The same code in under two minutes, on the demo's scenes.")] = False,
) -> None:
    """Measure the smallest artifact against the plain export."""
    with student_yolo26n.project(data, weights, quick) as project:
        artifacts = make(project, SHARE, 2 if quick else STEPS)
        times = latencies(artifacts, *((2, 10) if quick else (20, 300)))
        rows = [
            ratio("speedup", times[WHOLE.name], times[FINAL.name], "≥ 3"),
            sizes(artifacts),
            ratio("speedup_same_runtime", times[PRUNED.name], times[FINAL.name], "≥ 1.5"),
            drop(artifacts),
        ]
        details = [figures(each, folder, times[each.name]) for each, folder in artifacts.items()]
        common.publish("compression", rows, quick=quick, threads=THREADS, artifacts=details)


def make(project: Path, share: float, steps: int) -> Artifacts:
    """The three artifacts, by the product's stages, unless they are there."""
    whole = student_yolo26n.variant(project, "whole", prune={"ratio": 0.0})
    small = student_yolo26n.variant(project, "compressed", prune={"ratio": share, "steps": steps})
    artifacts = {WHOLE: whole, PRUNED: small, FINAL: small}
    for each, folder in artifacts.items():
        maker = Stage("quantize" if each.precision == "int8" else "export", (each.student, each.runtime))
        do(folder, (*student_yolo26n.PRUNING, maker, Stage("evaluate", (each.name,))))
        common.tell(f"made: {each.name}")
    return artifacts


def latencies(artifacts: Artifacts, warmup: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of one image's inference, round by round, by the artifact's name."""
    task = tasks.load("detect")
    with pinned(THREADS):
        runners = {each.name: runner(task, folder / each.folder, THREADS) for each, folder in artifacts.items()}
        return measure(runners, warmup, runs)


def ratio(id: str, slow: list[float], fast: list[float], goal: str) -> Row:
    """The median over rounds of how much faster the one is than the other."""
    return common.median(id, [one / other for one, other in zip(slow, fast, strict=True)], goal)


def sizes(artifacts: Artifacts) -> Row:
    """The bytes of the plain export over those of the smallest artifact."""
    whole, final = (_card(each, artifacts[each])["size_bytes"] for each in (WHOLE, FINAL))
    value = whole / final
    return Row("size_ratio", value, value, value, 1, "≥ 6")


def drop(artifacts: Artifacts) -> Row:
    """What the smallest artifact finds less than the plain export."""
    sides = ([artifacts[each] / layout.evaluation(each.name)] for each in (WHOLE, FINAL))
    return gain("map_drop", "≤ 1.0, high ≤ 2.0", *sides)


def figures(each: Candidate, folder: Path, times: list[float]) -> dict[str, Any]:
    """What is known of one artifact."""
    metrics = read_json(folder / layout.evaluation_metrics(each.name))
    counted = {key: metrics[key] for key in ("map50_95", "map50", "parameters", "macs", "size_bytes")}
    return {"artifact": each.name, "pruned": each is not WHOLE, **counted, **summarize(times)}


def _card(each: Candidate, folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = read_json(folder / each.folder / layout.CARD)
    return card


if __name__ == "__main__":
    common.run(main)
