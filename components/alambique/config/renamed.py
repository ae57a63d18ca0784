"""Keys of `params.yaml` that were renamed: an old key is refused with its new name."""

from __future__ import annotations

from typing import Any

RENAMED = {
    "arriving": "ingest",
    "arriving.max_bad": "ingest.max_invalid_fraction",
    "distill.fade": "distill.anneal",
    "distill.min_trust": "distill.min_label_probability",
    "networks.*.start": "networks.*.weights",
    "prune.share": "prune.ratio",
}
"""Old key → new key; * is any name."""


def renamed(content: Any) -> list[str]:
    """One line for each old key in the content of a params.yaml, with its new name."""
    networks = content.get("networks")
    networks = networks if isinstance(networks, dict) else {}
    lines = []
    for old, new in RENAMED.items():
        for name in networks if "*" in old else ["*"]:
            key = old.replace("*", name)
            if _holds(content, key.split(".")):
                lines.append(f"{key}: this key is {new.replace('*', name)} now; rename it")
    return lines


def _holds(content: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True
