from __future__ import annotations

from alambique.process.environment import prepare

prepare()
