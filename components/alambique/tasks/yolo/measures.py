"""How the figures of detectors, segmenters, poses and oriented boxes are named and defined in tables and reports."""

from __future__ import annotations

from alambique.evaluation.measures import Measure

_SCORES = {
    "confidence": Measure(
        "score if right",
        "number",
        about="mean over the right detections; falls with a collapse of confidence, which mAP does not show",
    ),
    "ece": Measure(
        "calibration error", "number", lower_is_better=True, about="how far scores are from being right so often"
    ),
}

DETECTION = {
    "map50_95": Measure(
        "mAP50-95",
        shown=True,
        about="mean over the classes of average precision at IoU 0.50, 0.55 … 0.95, as Ultralytics computes it",
    ),
    "map50": Measure("mAP50", shown=True, about="the same at IoU 0.50 alone"),
    "f1": Measure("F1", about="at the threshold of deployment, IoU 0.50"),
    **_SCORES,
}


def _of(matches: str, boxes: bool = True) -> dict[str, Measure]:
    """Measures of a head with points: `matches` says when one is right, `boxes` whether boxes are measured, too."""
    box = {"box_map50_95": Measure("box mAP50-95", about="the same, of the boxes around the objects")}
    about = f"mean over the classes of average precision, computed by Ultralytics; {matches}, 0.50, 0.55 … 0.95"
    return {
        "map50_95": Measure("mAP50-95", shown=True, about=about),
        "map50": Measure("mAP50", shown=True, about="the same at 0.50 alone"),
        **(box if boxes else {}),
        "f1": Measure("F1", about="at the threshold of deployment, matched at 0.50"),
        **_SCORES,
    }


MASKS = _of("masks match by the IoU of their pixels")
POSES = _of("poses match by the object keypoint similarity")
ORIENTED_BOXES = _of("boxes match by the probabilistic IoU of turned rectangles", boxes=False)

BY_CLASS = {
    "ap": Measure("AP", about="average precision as of the headline; a class that no test image holds has none"),
    "recall": Measure("recall", about="share of a class's objects found at the threshold of deployment, at 0.50"),
}
