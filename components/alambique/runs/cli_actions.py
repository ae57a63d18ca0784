"""`alambique results`, `rollback` and `publish`, run in a project's folder."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from alambique import config
from alambique.config.deployment import Deployment
from alambique.errors import AlambiqueError, ConfigurationError, PermanentError
from alambique.evaluation import leaderboard
from alambique.files import read_json
from alambique.git import git, ref
from alambique.layout import DECISIONS, REPORT
from alambique.messages import Decisions, PublishRequest, RollbackRequest
from alambique.pipeline.transfer import pull
from alambique.process.environment import prepare
from alambique.registry import promotion, publishing
from alambique.registry.ledger import Ledger
from alambique.report.terminal import print_decisions, print_leaderboard


def fetch(project: Path) -> None:
    """Fast-forward the working folder to the newest recorded run, and pull its report.

    Raises:
        AlambiqueError: the folder has commits of its own; git says which.
    """
    deployment = Deployment.load(project)
    git("pull", "--quiet", "--ff-only", "--", deployment.origin, ref(deployment.branch), cwd=project)
    if not (project / "dvc.lock").exists():
        raise ConfigurationError(f"no run is recorded on {deployment.branch} yet; trigger the distill DAG")
    pull(project, [str(REPORT)])


def show(project: Path, console: Console) -> None:
    """Print the leaderboard, the gates' decisions if there are any, and the champions."""
    print_leaderboard(leaderboard.load(project / REPORT / "leaderboard.json"), console)
    if (path := project / DECISIONS).exists():
        print_decisions(Decisions.model_validate(read_json(path)), console)
    params = config.load(project)
    origin = Deployment.load(project).origin
    for runtime in params.runtimes:
        if state := Ledger(origin, f"{params.project}-{runtime}").read():
            champion = state.champion
            console.print(
                f"Champion of {champion.model}: [bold]{champion.candidate}[/], version {champion.version}",
                highlight=False,
            )


def rollback(project: Path, model: str, by: str | None, why: str) -> str:
    """Exchange a model's champion and previous, and publish where `releases` is set; returns a sentence.

    Args:
        by: who decides; None: the user of git, or of this machine.
    Raises:
        ConfigurationError: there is no previous champion.
        PermanentError: the ledger was rolled back, but publishing failed.
    """
    prepare()
    deployment = Deployment.load(project)
    decided_by = by or git("config", "user.name", cwd=project, check=False) or getpass.getuser()
    try:
        request = RollbackRequest(deployment=deployment, model=model, by=decided_by, why=why)
    except ValidationError as error:
        raise ConfigurationError(config.describe(error, "rollback")) from None
    (champion,) = promotion.rollback(request).champions
    message = f"{model} version {champion.version} ({champion.candidate}) is champion again"
    if deployment.releases is None:
        return message
    try:
        published = publishing.publish(PublishRequest(deployment=deployment, models=[model]))
    except AlambiqueError as error:  # of whatever kind: a second rollback would undo this one
        raise PermanentError(
            f"{message}, but devices do not get it yet: {error}; run `alambique publish {model}`"
        ) from error
    return f"{message}, and published at {published.releases[model]}"


def publish(project: Path, models: Sequence[str]) -> str:
    """Publish the champions of `models`, or of all of the project's; returns a line for each."""
    prepare()
    deployment = Deployment.load(project)
    if not models:
        params = config.load(project)
        models = [f"{params.project}-{runtime}" for runtime in params.runtimes]
    published = publishing.publish(PublishRequest(deployment=deployment, models=list(models)))
    return "\n".join(f"{model}: {published.releases.get(model, 'no champion yet')}" for model in models)
