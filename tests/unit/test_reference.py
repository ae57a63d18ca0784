"""What stands at the repository's root is what projects begin with."""

from __future__ import annotations

from pathlib import Path

from alambique import expansion
from alambique.data import versions

ROOT = Path(__file__).parents[2]


def test_the_committed_graph_is_what_dvc_yaml_expands_to() -> None:
    expansion.check(ROOT)


def test_the_committed_versions_are_the_locked_ones() -> None:
    versions.check(ROOT)
