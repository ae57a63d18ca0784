from __future__ import annotations

import subprocess
import sys

import pytest

from alambique import config
from alambique.tasks import yolo

DESCRIBED = """
import sys
from alambique import tasks
task = tasks.load(sys.argv[1])
print(task.about and sorted({"torch", "ultralytics", "transformers", "great_expectations", "onnx"} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", config.TASKS)
def test_a_task_is_described_without_the_libraries_of_training(name: str) -> None:
    command = [sys.executable, "-c", DESCRIBED, name]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_what_is_no_module_of_a_task_is_no_attribute_either() -> None:
    assert not hasattr(yolo, "nothing")
