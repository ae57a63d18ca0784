from __future__ import annotations

from alambique.stages.environment import prepare

prepare()
