from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alambique.process.environment import prepare

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker of pytest has one core to itself
prepare()


@pytest.fixture(autouse=True)
def _no_signal_handler_stays() -> Iterator[None]:
    """Torch's loaders with workers leave a handler of SIGCHLD behind.

    On a processor with AMX the next child that ended while OpenVINO's INT8 had used it took this process along: the
    kernel ends a process whose registers it cannot put on a handler's stack.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real dataset in YOLO layout: 64 px, 24 train, 8 val, 8 test and 8 unlabelled scenes. Read-only."""
    from alambique.demo.digits import Scenes

    target = tmp_path_factory.mktemp("scenes") / "data"
    Scenes(train=24, val=8, test=8, unlabelled=8, size=64, digits=2).write(target)
    return target


class _Kept(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _listening(level: int) -> Iterator[list[str]]:
    handler, logger = _Kept(level), logging.getLogger("alambique")
    before = logger.level
    logger.setLevel(level)
    logger.addHandler(handler)
    yield handler.messages
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Our warnings, whatever another test's Airflow made of the root logger, which pytest's own fixture listens to."""
    with _listening(logging.WARNING) as messages:
        yield messages


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The same from INFO on, as a stage's log shows them."""
    with _listening(logging.INFO) as messages:
        yield messages
