"""Every benchmark runs: what it measures with `--quick` means nothing, but that it measures does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alambique.files import read_json

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "common.run(main)" in path.read_text())

QUICKEST = {"drift", "evaluation", "softlabels"}
"""The others take one to two minutes each."""

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in QUICKEST else pytest.mark.long) for name in NAMES],
)
def test_a_quick_run_publishes_its_rows(name: str) -> None:
    result = ROOT / "benchmarks/results/quick" / f"{name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(row["n"] > 0 for row in read_json(result)["rows"])
