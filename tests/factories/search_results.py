"""What a search wrote, its figures made up: the nearest combination is too large."""

from __future__ import annotations

from typing import Any


def entry(share: float, **figures: Any) -> dict[str, Any]:
    """A combination."""
    return {
        "candidate": "pico-onnx-int8",
        "student": "pico",
        "share": share,
        "runtime": "onnx",
        "precision": "int8",
        "latency_p50_ms": 3.0,
        "latency_p95_ms": 3.5,
        "size_mb": 0.62,
        "accuracy": 0.513,
        "drop": 0.017,
        "exceeds": ["size_mb"],
        **figures,
    }


def choice(**content: Any) -> dict[str, Any]:
    """choice.json."""
    chosen = entry(0.6)
    return {
        "budget": {"latency_p95_ms": None, "size_mb": 0.5, "max_drop": 0.02, "trials": 12, "steps": 300},
        "rule": "the most accurate within them",
        "shares": {"pico": 0.6},
        "chosen": chosen,
        "students": {"pico": chosen},
        "meets_budget": False,
        "exceeded": [{"limit": "size_mb", "allowed": 0.5, "value": 0.62, "by": 0.12, "least": 0.58}],
        "reference": 0.53,
        "unpruned": {"pico": 0.53},
        "trials": [{**chosen, "trained": True}],
        "trainings": 1,
        "untried": 0,
        "costs": [chosen],
        "benchmark": {"cpu": "Abacus 9000", "threads": 1, "cores": [1], "runs": 100},
        **content,
    }
