"""What stays in floating point in every INT8 network: the head's last convolutions and all that follows them.

One scale for box coordinates (hundreds of pixels) and for scores (below one) would leave nothing of the scores.
"""

from __future__ import annotations

from collections.abc import Mapping

CONVOLUTIONS = frozenset({"Conv", "Convolution", "GroupConvolution"})


def float_nodes(nodes: Mapping[str, tuple[str, list[str]]], output: str) -> list[str]:
    """The nodes between `output` and the convolutions it comes from, these included, sorted by name.

    Args:
        nodes: by a node's name its operator and the nodes whose outputs it takes.
        output: the node of the network's first output.
    """
    reached: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in nodes:
            continue
        reached.add(name)
        operator, sources = nodes[name]
        if operator not in CONVOLUTIONS:
            waiting += sources
    return sorted(reached)
