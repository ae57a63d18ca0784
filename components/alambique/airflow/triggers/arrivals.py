"""New data at `arrivals`, watched from Airflow's triggerer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from alambique.airflow.hooks.ml_command import GRACE, MLCommandHook
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, PermanentError
from alambique.messages import Arrivals, ArrivalsRequest

SLOW = 10
"""So many times the interval pass before what a retry cannot mend is tried again."""


class ArrivalsTrigger(BaseEventTrigger):
    """Fires when there is new data at `arrivals`, once for each change of what lies there.

    It looks by the verb `arrivals`. Whatever goes wrong is logged, and it goes on looking. It remembers nothing beyond
    its process: after a restart it fires again for what is still new, which the ingestion then finds, or has already.
    Between two looks it waits `interval` seconds.
    """

    def __init__(self, deployment: dict[str, Any], interval: float = 60) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.deployment = deployment
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"deployment": self.deployment, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        last_digest, complaint = None, None
        while True:
            pause = self.interval
            try:
                arrivals = await self._look()
            except PermanentError as error:
                if str(error) != complaint:
                    self.log.error("cannot look for new data: %s: %s", type(error).__name__, error)
                complaint = str(error)
                pause *= SLOW
            except (AlambiqueError, OSError) as error:
                self.log.warning("looking for new data failed, and goes on: %s: %s", type(error).__name__, error)
            else:
                complaint = None
                if arrivals.new and arrivals.digest != last_digest:
                    yield TriggerEvent(arrivals.model_dump(mode="json"))  # type: ignore[no-untyped-call]
                last_digest = arrivals.digest
            await asyncio.sleep(pause)

    async def _look(self) -> Arrivals:
        """Run the verb in a thread; when this is cancelled, the verb has ended before the cancellation goes on."""
        request = ArrivalsRequest(deployment=Deployment.model_validate(self.deployment))
        hook = MLCommandHook(request.deployment.python or Path(sys.executable), "arrivals", self.log.info)
        work = asyncio.create_task(asyncio.to_thread(hook.run, request, Arrivals))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            hook.kill()
            while not work.done():
                await asyncio.wait({work}, timeout=GRACE)
                hook.kill()  # in case the thread had not started it yet
            work.cancelled() or work.exception()  # nobody else asks how it ended
            raise
