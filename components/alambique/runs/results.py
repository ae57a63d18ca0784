"""The newest recorded run's report: fetched into the project's folder, and printed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from alambique import config
from alambique.config.deployment import Deployment
from alambique.errors import ConfigurationError
from alambique.evaluation import leaderboard
from alambique.files import read_json
from alambique.git import git
from alambique.layout import DECISIONS, REPORT
from alambique.messages import Decisions
from alambique.pipeline.transfer import pull
from alambique.registry.ledger import Ledger
from alambique.report import checks
from alambique.report.terminal import print_leaderboard


def fetch(project: Path) -> None:
    """Fast-forward the working folder to the newest recorded run, and pull its report.

    Raises:
        AlambiqueError: the folder has commits of its own; git says which.
    """
    deployment = Deployment.load(project)
    git("pull", "--quiet", "--ff-only", deployment.origin, deployment.branch, cwd=project)
    if not (project / "dvc.lock").exists():
        raise ConfigurationError(f"no run is recorded on {deployment.branch} yet; trigger the distill DAG")
    pull(project, [str(REPORT)])


def show(project: Path, console: Console) -> None:
    """Print the leaderboard, the gates' decisions if there are any, and the champions."""
    print_leaderboard(leaderboard.load(project / REPORT / "leaderboard.json"), console)
    if (path := project / DECISIONS).exists():
        checks.show(Decisions.model_validate(read_json(path)), console)
    params = config.load(project)
    origin = Deployment.load(project).origin
    for runtime in params.runtimes:
        if state := Ledger(origin, f"{params.project}-{runtime}").read():
            champion = state.champion
            console.print(
                f"Champion of {champion.model}: [bold]{champion.candidate}[/], version {champion.version}",
                highlight=False,
            )
