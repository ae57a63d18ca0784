"""What a step of the pipeline does: a verb of `alambique.verbs`, whose request is made of what earlier steps returned.

Steps hand each other messages as `messages.pack` writes them: texts without quotes, which a list of them may hold.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alambique.config.deployment import Deployment
from alambique.messages import Message, Run, StageResult, pack, unpack
from alambique.process.environment import configure_logging, errors_exit, prepare
from alambique.verbs import VERBS

ENVIRONMENT = Path("/etc/alambique/environment")
"""Where the specification mounts Secrets and ConfigMaps: Kubeflow takes no whole one as environment variables."""


def snapshot(deployment: str, digest: str, run_id: str) -> str:
    """Freeze what the run starts from; returns a packed `Run`.

    Args:
        deployment: JSON of a `Deployment`.
        digest: of the graph that the pipeline was compiled from.
        run_id: Kubeflow's.
    """
    return pack(_do("snapshot", deployment, digest=digest, run_id=f"kfp-{run_id}", dag_run=run_id))


def stage(deployment: str, run: str, name: str, upstream: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Run a stage, or find its result; returns its packed `StageResult`, and the hash of each of its outs.

    Args:
        run: packed.
        name: of the expanded stage.
        upstream: packed results of the stages whose outs it depends on.
    """
    result: Any = _do("run-stage", deployment, run=_run(run), stage=name, upstream=_results(upstream))
    return pack(result), {"key": result.key, **{out["path"]: out[out["hash"]] for out in result.entry.get("outs", [])}}


def record(deployment: str, run: str, stages: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Register the candidates, judge them, and keep the run in git.

    Args:
        run, stages: packed: the run and every stage's result.
    Returns:
        the run's tag if it has a challenger, else an empty text; and what was decided of each candidate.
    """
    done = {"run": _run(run), "stages": _results(stages)}
    registered: Any = _do("register", deployment, **done)
    decisions: Any = _do("gate", deployment, **done, versions=registered.versions)
    recorded: Any = _do("record", deployment, **done, decisions=decisions)
    verdicts = {each.version.candidate: "passed" if each.passed else "rejected" for each in decisions.decisions}
    return recorded.tag if decisions.challengers else "", {"tag": recorded.tag, **verdicts}


def promote(deployment: str, tag: str, approved: bool) -> str:
    """Make the challengers of a recorded run champions, and name them; none with an empty tag or unless approved."""
    if not (tag and approved):
        return ""
    promoted: Any = _do("promote", deployment, tag=tag, by="kubeflow")
    return ", ".join(version.candidate for version in promoted.champions)


def _do(verb: str, deployment: str, **fields: Any) -> Message:
    os.environ.update(environment(ENVIRONMENT))
    prepare()
    configure_logging()
    asked = VERBS[verb]
    with errors_exit():
        request = asked.request.model_validate({"deployment": Deployment.model_validate_json(deployment), **fields})
        return asked(request)


def environment(folder: Path) -> dict[str, str]:
    """What the files in the folders in `folder` say, by their names: a Secret or ConfigMap each, mounted."""
    files = folder.glob("*/[!.]*") if folder.is_dir() else ()
    return {path.name: path.read_text() for path in sorted(files)}


def _run(packed: str) -> Run:
    return Run.model_validate_json(unpack(packed))


def _results(packed: Sequence[str]) -> Mapping[str, StageResult]:
    results = [StageResult.model_validate_json(unpack(text)) for text in packed]
    return {result.stage: result for result in results}
