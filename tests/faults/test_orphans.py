"""No process of a verb outlives the verb, nor the Airflow task that waits for it, however either ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from factories.stub_interpreter import alive, eventually, interpreter

from alambique.airflow.hooks import ml_command
from alambique.airflow.hooks.ml_command import MLCommandHook
from alambique.errors import AlambiqueError
from alambique.messages import Registered

REQUEST = Registered(versions=[])

FAMILY = """\
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
Path("{pids}.part").write_text(f"{{os.getpid()}} {{child.pid}}")
Path("{pids}.part").rename("{pids}")
"""


IGNORE_SIGTERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SLEEP = "time.sleep(600)"


def family(folder: Path, then: str, first: str = "") -> Path:
    """A verb with a child that ignores SIGTERM; it writes both process ids to `folder/pids`, then does `then`."""
    return interpreter(folder, first + FAMILY.format(pids=folder / "pids") + then)


def pids(folder: Path) -> list[int]:
    assert eventually((folder / "pids").exists)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def all_gone(processes: list[int]) -> bool:
    return eventually(lambda: not any(map(alive, processes)))


def test_a_killed_task_takes_its_verb_and_the_verbs_children_along(tmp_path: Path) -> None:
    python = family(tmp_path, SLEEP)
    task = (
        "from pathlib import Path\n"
        "from alambique.airflow.hooks.ml_command import MLCommandHook\n"
        "from alambique.messages import Registered\n"
        f"MLCommandHook(Path({str(python)!r}), 'register', print).run(Registered(versions=[]), Registered)"
    )
    with subprocess.Popen([sys.executable, "-c", task]) as parent:
        started = pids(tmp_path)
        assert all(map(alive, started))
        parent.send_signal(signal.SIGKILL)
    assert all_gone(started)


@pytest.mark.parametrize(("first", "how"), [("", "SIGTERM"), (IGNORE_SIGTERM, "SIGKILL")])
def test_killing_a_verb_ends_its_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, how: str
) -> None:
    monkeypatch.setattr(ml_command, "GRACE", 0.2)
    hook = MLCommandHook(family(tmp_path, SLEEP, first=first), "register", print)
    killer = threading.Thread(target=lambda: pids(tmp_path) and hook.kill())
    killer.start()
    with pytest.raises(AlambiqueError, match=how):
        hook.run(REQUEST, Registered)
    killer.join()
    assert all_gone(pids(tmp_path))


def test_a_verb_that_ends_leaves_no_child_behind(tmp_path: Path) -> None:
    begun = time.monotonic()
    holds_the_output = "subprocess.Popen(['sleep', '600']); result.write_text(json.dumps(request))"
    assert MLCommandHook(family(tmp_path, holds_the_output), "register", print).run(REQUEST, Registered) == REQUEST
    assert time.monotonic() - begun < 60
    assert all_gone(pids(tmp_path))


def test_an_interrupted_wait_ends_the_verb(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        MLCommandHook(family(tmp_path, f"print('a line', flush=True); {SLEEP}"), "register", interrupt).run(
            REQUEST, Registered
        )
    assert all_gone(pids(tmp_path))


def test_a_verb_started_by_hand_needs_no_lifeline(tmp_path: Path) -> None:
    watch = "from alambique.process import lifeline; lifeline.watch(); print('fine')"
    done = subprocess.run([sys.executable, "-c", watch], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "fine\n"
