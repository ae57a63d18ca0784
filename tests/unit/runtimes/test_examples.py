from __future__ import annotations

from pathlib import Path

import pytest

from alambique import tasks
from alambique.runtimes import RUNTIMES, examples

FRAGMENTS = {
    path.name.split(".")[0]: path.parent / path.name.split(".")[0]
    for path in Path(tasks.__file__).parent.glob("*/examples/*.inputs.py.j2")
}
TASKS = sorted(FRAGMENTS)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("task", TASKS)
def test_every_combination_is_a_readable_script(task: str, runtime: str) -> None:
    script = examples.render(runtime, FRAGMENTS[task])
    compile(script, f"{task}-{runtime}", "exec")
    assert max(len(line) for line in script.splitlines()) <= 120
    assert script.endswith(")\n")
    assert "\n\n\n\n" not in script
    assert not [line for line in script.splitlines() if line != line.rstrip()]
    assert "run(" in script.split("def run(")[1]  # what is defined is called


def test_every_task_has_both_fragments() -> None:
    assert TASKS == ["classify", "detect", "obb", "pose", "segment", "text", "text_classify"]
    assert all(path.with_name(f"{path.name}.outputs.py.j2").is_file() for path in FRAGMENTS.values())


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_every_example_prepares_an_image_alike(task: str) -> None:
    scripts = [examples.render(runtime, FRAGMENTS[task]) for runtime in RUNTIMES]
    scripts.append(examples.render("onnx", FRAGMENTS["detect"]))
    parts = {script[script.index("# Letterbox") :].partition("\n\n")[0] for script in scripts}
    assert len(parts) == 1


def test_what_pip_is_to_be_given_is_sorted() -> None:
    assert "Needs  pip install ncnn numpy pillow\n" in examples.render("ncnn", FRAGMENTS["classify"])
