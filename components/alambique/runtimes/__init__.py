"""What students run on: one module a runtime, which says how its files are written, opened, timed and quantized.

To add a runtime: its module, a line in `runtimes.registry`, its name in `config.section.Runtime`, a template in
`runtimes/examples`.
"""

from __future__ import annotations

from alambique.runtimes.base import Exportable, Program, Runtime
from alambique.runtimes.registry import RUNTIMES, load, open_candidate, require_available, unavailable

__all__ = ["RUNTIMES", "Exportable", "Program", "Runtime", "load", "open_candidate", "require_available", "unavailable"]
