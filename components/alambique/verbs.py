"""`python -m alambique.verbs VERB --request FILE --result FILE`: what Airflow's side asks of the ML interpreter.

A verb is a row of `VERBS`: the class of its request, and the function that takes one and returns the result.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from alambique import messages
from alambique.config import describe
from alambique.errors import ConfigurationError
from alambique.files import write_text
from alambique.messages import Message, unpack
from alambique.process import lifeline
from alambique.process.environment import errors_exit, hide, prepare


class Verb(NamedTuple):
    """What a verb takes, and who does it.

    Attributes:
        request: the class of its request.
        function: "module:function", imported when the verb is called.
    """

    request: type[Message]
    function: str

    def __call__(self, request: Message) -> Message:
        module, _, name = self.function.partition(":")
        result: Message = getattr(importlib.import_module(module), name)(request)
        return result


VERBS: dict[str, Verb] = {
    "arrivals": Verb(messages.ArrivalsRequest, "alambique.data.arrivals:count_new"),
    "drift": Verb(messages.DriftRequest, "alambique.drift.detect_drift:drift"),
    "end": Verb(messages.EndRequest, "alambique.runs.record:end"),
    "gate": Verb(messages.GateRequest, "alambique.registry.gate_command:gate"),
    "ingest": Verb(messages.IngestRequest, "alambique.runs.ingest:ingest"),
    "promote": Verb(messages.PromoteRequest, "alambique.registry.promotion:promote"),
    "propose": Verb(messages.ProposeRequest, "alambique.registry.approval_request:propose"),
    "publish": Verb(messages.PublishRequest, "alambique.registry.publishing:publish"),
    "record": Verb(messages.RecordRequest, "alambique.runs.record:record"),
    "register": Verb(messages.RunRequest, "alambique.registry.model_versions:register"),
    "rollback": Verb(messages.RollbackRequest, "alambique.registry.promotion:rollback"),
    "run-stage": Verb(messages.StageRequest, "alambique.runs.run_stage:run_stage"),
    "snapshot": Verb(messages.SnapshotRequest, "alambique.runs.snapshot:snapshot"),
    "unchanged": Verb(messages.UnchangedRequest, "alambique.runs.record:unchanged"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a verb's request, do it, and write its result, which appears only when the verb succeeded."""
    parser = argparse.ArgumentParser(prog="python -m alambique.verbs", description=__doc__)
    parser.add_argument("verb", choices=VERBS)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--request", type=Path, help="JSON file of the request")
    source.add_argument("--request-variable", help="environment variable that holds it, as `messages.pack` writes it")
    parser.add_argument("--result", type=Path, required=True, help="where the result's JSON goes")
    given = parser.parse_args(arguments)
    lifeline.watch()
    hide()
    prepare()
    with errors_exit():
        verb = VERBS[given.verb]
        content = given.request.read_bytes() if given.request else unpack(os.environ[given.request_variable])
        try:
            request = verb.request.model_validate_json(content)
        except ValidationError as error:
            raise ConfigurationError(describe(error, given.verb)) from None
        result = verb(request)
        write_text(given.result, result.model_dump_json())


if __name__ == "__main__":
    main()
