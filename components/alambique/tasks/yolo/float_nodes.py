"""What stays in floating point in every INT8 network: the head's last convolutions and all that follows them.

One scale for box coordinates (hundreds of pixels) and for scores (below one) would leave nothing of the scores.
"""

from __future__ import annotations

Producers = dict[str, tuple[str, list[str]]]
"""By a node's name: its type, and the names of the nodes whose outputs it takes."""

CONVOLUTIONS = frozenset({"Conv", "Convolution", "GroupConvolution"})


def float_tail(producers: Producers, output: str) -> list[str]:
    """The nodes between `output` and the convolutions it comes from, these included, sorted by name."""
    found: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in found or name not in producers:
            continue
        found.add(name)
        kind, sources = producers[name]
        if kind not in CONVOLUTIONS:
            waiting += sources
    return sorted(found)
