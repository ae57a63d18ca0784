from __future__ import annotations

from alambique.tasks.yolo.float_nodes import float_nodes


def test_float_nodes_reaches_back_to_the_last_convolutions_and_no_further() -> None:
    producers = {
        "stem": ("Conv", []),
        "act": ("Sigmoid", ["stem"]),
        "boxes": ("Conv", ["act"]),
        "scores": ("Convolution", ["act"]),
        "sigmoid": ("Sigmoid", ["scores"]),
        "join": ("Concat", ["boxes", "sigmoid", "anchors"]),
    }
    assert float_nodes(producers, "join") == ["boxes", "join", "scores", "sigmoid"]
