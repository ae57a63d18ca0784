from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories.stub_interpreter import alive, eventually, interpreter
from structlog.testing import capture_logs

from alambique.airflow.triggers.arrivals import ArrivalsTrigger
from alambique.config.deployment import Deployment

SAYS = """
answer = json.loads(Path(request["deployment"]["arrivals"]).read_text())
if "error" in answer:
    errors.write_error(getattr(errors, answer["error"])("on purpose"))
    sys.exit(1)
result.write_text(json.dumps(answer))
"""
"""A verb that answers what stands in the file that its deployment names as `arrivals`, or fails as it says."""


@pytest.fixture
def lies(tmp_path: Path) -> Callable[[dict[str, Any]], object]:
    """Change what the verb answers."""

    def change(answer: dict[str, Any]) -> None:
        (tmp_path / "new").write_text(json.dumps(answer))
        (tmp_path / "new").replace(tmp_path / "answer")

    change({"new": 0, "digest": "nothing"})
    return change


def trigger(folder: Path, verb: str = SAYS, interval: float = 0.05) -> ArrivalsTrigger:
    here = Deployment(
        origin=str(folder), home=folder, python=interpreter(folder, verb), arrivals=str(folder / "answer")
    )
    return ArrivalsTrigger(here.model_dump(mode="json"), interval)


async def payloads(watcher: ArrivalsTrigger, events: list[Any]) -> None:
    async for event in watcher.run():
        events.append(event.payload)


async def until(condition: Callable[[], bool]) -> None:
    assert await asyncio.to_thread(eventually, condition)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_trigger_is_stored_as_json_and_made_again_from_it(tmp_path: Path) -> None:
    path, arguments = trigger(tmp_path).serialize()
    assert path == "alambique.airflow.triggers.arrivals.ArrivalsTrigger"
    assert ArrivalsTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


def test_it_fires_once_for_each_change_and_not_when_nothing_is_new(
    tmp_path: Path, lies: Callable[[dict[str, Any]], object]
) -> None:
    looks = tmp_path / "looks"
    verb = f"open({str(looks)!r}, 'a').write('.')\n{SAYS}"

    async def watch() -> list[Any]:
        events: list[Any] = []
        task = asyncio.create_task(payloads(trigger(tmp_path, verb), events))
        for answer in ({"new": 2, "digest": "a"}, {"new": 0, "digest": "b"}, {"new": 1, "digest": "c"}):
            lies(answer)
            done = len(looks.read_text()) if looks.exists() else 0
            await until(lambda done=done: looks.exists() and len(looks.read_text()) > done + 3)  # type: ignore[misc]
        await stop(task)
        return events

    assert asyncio.run(watch()) == [{"new": 2, "digest": "a"}, {"new": 1, "digest": "c"}]


def test_it_goes_on_after_an_error_and_says_a_permanent_one_once(
    tmp_path: Path, lies: Callable[[dict[str, Any]], object]
) -> None:
    def times(level: str) -> int:
        return len([line for line in said if line["log_level"] == level and "on purpose" in line["event"]])

    async def watch() -> list[Any]:
        events: list[Any] = []
        lies({"error": "TransientError"})
        task = asyncio.create_task(payloads(trigger(tmp_path, interval=0.01), events))
        await until(lambda: times("warning") >= 2)
        lies({"error": "ConfigurationError"})
        await until(lambda: times("error") == 1)
        await asyncio.sleep(2)
        lies({"new": 1, "digest": "a"})
        await until(lambda: bool(events))
        await stop(task)
        return events

    with capture_logs() as said:
        assert asyncio.run(watch()) == [{"new": 1, "digest": "a"}]
    assert times("error") == 1


def test_a_cancelled_trigger_leaves_no_verb_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    verb = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )

    async def watch() -> None:
        task = asyncio.create_task(payloads(trigger(tmp_path, verb), []))
        await until(lambda: pid.exists() and bool(pid.read_text()))
        await stop(task)
        assert not alive(int(pid.read_text()))

    asyncio.run(watch())
