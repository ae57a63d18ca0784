"""Keep Ultralytics quiet: its logger and progress bars, for the duration of a block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ultralytics.utils import LOGGER


@contextmanager
def quiet() -> Iterator[None]:
    """Only its warnings: its bars are redrawn many times a second, and an export tells a dozen lines."""
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
