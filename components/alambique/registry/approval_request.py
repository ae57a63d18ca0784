"""The verb `propose`: what an approval in Airflow shows: challengers beside champions, and the gates' verdicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from alambique.errors import IntegrityError
from alambique.evaluation import leaderboard
from alambique.evaluation.leaderboard import Leaderboard, Row
from alambique.files import sha256
from alambique.layout import DECISIONS
from alambique.messages import Check, Decision, Proposal, ProposeRequest, Version
from alambique.registry import run_artifacts
from alambique.registry.client import connect, forgiving, reachable
from alambique.registry.gate_command import GateReport, read_gate_report
from alambique.registry.run_artifacts import LEADERBOARD
from alambique.registry.tracking import RUN
from alambique.report.distillation import teacher_notices
from alambique.report.figures import difference, figure, number, points

LIMIT = 6000
"""Characters of the body: it is passed through XCom, and should fit on one or two screens."""


def propose(request: ProposeRequest) -> Proposal:
    """The approval request of a recorded run: its challengers beside today's champions, and the gates' verdicts.

    Raises:
        ConfigurationError: there is no such tag, or no run was recorded at it.
        IntegrityError: the run's leaderboard has no row of a challenger.
        TransientError: the origin or the DVC remote is out of reach.
    """
    deployment = request.deployment
    report = read_gate_report(deployment.origin, request.tag)
    with tempfile.TemporaryDirectory(prefix="alambique-approval-") as name:
        target = Path(name) / LEADERBOARD.name
        run_artifacts.get(deployment.origin, request.tag, LEADERBOARD, target)
        if report.decisions.leaderboard not in {"", actual := sha256(target)}:
            raise IntegrityError(
                f"the leaderboard of {request.tag} has sha256 {actual}, but the gates judged "
                f"{report.decisions.leaderboard}; start another run"
            )
        board = leaderboard.load(target)
    head = [f"Run `{report.tag}` of {board['project']}, judged on {board['images']} test {board['samples']}."]
    if link := _link(board["project"], report.decisions.run_id, deployment.tracking_uri):
        head.append(f"[The run in MLflow]({link})")
    head += [f"\n**{_plain(notice)}**" for notice in teacher_notices(board)]
    head += ["", *comparison(report, board), *_conflicts(report, deployment.origin)]
    challengers = report.decisions.challengers
    decisions = [decision for decision in report.decisions.decisions if decision.version in challengers]
    body = _within_limit("\n".join(head), decisions, request.tag)
    promotions = [f"{version.candidate} to champion of {version.model}" for version in challengers]
    subject = f"Promote {' and '.join(promotions)}?" if promotions else f"{report.tag} has no challenger"
    return Proposal(tag=request.tag, judgement=report.sha256, subject=subject, body=body)


def _link(project: str, run_id: str, tracking_uri: str | None) -> str | None:
    """URL of the run on the MLflow server; None without a server, or if it does not answer."""
    if tracking_uri is None or not tracking_uri.startswith("http"):
        return None
    with forgiving(f"find the run {run_id}"), reachable(tracking_uri):
        client = connect(tracking_uri)
        experiment = client.get_experiment_by_name(project)
        runs = experiment and client.search_runs([experiment.experiment_id], f"tags.`{RUN}` = '{run_id}'")
        if runs:
            return f"{tracking_uri.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs/{runs[0].info.run_id}"
    return None


def comparison(report: GateReport, board: Leaderboard) -> Iterator[str]:
    """Markdown table of a run's challengers, each above the champion that it would replace.

    Raises:
        IntegrityError: the leaderboard has no row of a challenger.
    """
    headline = board["headline"]
    yield from _header("", "candidate", board["measures"][headline]["label"], "latency p50, ms", "size, MB")
    rows = {row["subject"]: row for row in board["rows"]}
    for version in report.decisions.challengers:
        if version.candidate not in rows:
            raise IntegrityError(f"the leaderboard of {report.tag} has no row {version.candidate}; start another run")
        row = rows[version.candidate]
        yield _row(f"challenger of {version.model}", version.candidate, *_figures(row, headline))
        champion = leaderboard.reference("champion", row, board["rows"], headline)
        if champion and champion["present"]:
            name = "-".join(str(champion[part]) for part in ("student", "runtime", "precision"))
            yield _row("its champion", name, *_figures(champion, headline))
        else:
            yield _row("its champion", "none yet", "", "", "")


def _figures(row: Row, headline: str) -> tuple[str, str, str]:
    return points(row["metrics"][headline]), number(row["latency_p50_ms"]), number(row["size_mb"])


def _conflicts(report: GateReport, origin: str) -> Iterator[str]:
    """Reasons for which `promote` would refuse, so that nobody approves in vain."""
    for version in report.decisions.challengers:
        champion = run_artifacts.champion(version.model, origin)
        if champion and champion.digest == version.sha256:
            yield f"\n{version.candidate} is champion of {version.model} already."
        elif (champion.digest if champion else None) != report.decisions.champions.get(version.model):
            yield f"\nThe champion of {version.model} has changed since: promoting will be refused. Start another run."


def _within_limit(head: str, decisions: Sequence[Decision], tag: str) -> str:
    body, left_out = head, []
    for decision in decisions:
        table = "\n".join(_verdicts(decision.version, decision.checks))
        if len(body) + len(table) < LIMIT - 500:  # room for the last line
            body += f"\n\n{table}"
        else:
            left_out.append(decision.version.candidate)
    if left_out:
        body += f"\n\nThe gates' verdicts on {', '.join(left_out)} stand in `{DECISIONS}` of `{tag}`."
    return f"{body}\n"


def _verdicts(version: Version, checks: Sequence[Check]) -> Iterator[str]:
    yield f"**Gates of {version.candidate}**\n"
    yield from _header("gate", "value", "bound", "difference, 95 %", "verdict")
    for check in checks:
        reason = f"{check.reason}: {check.explanation}" if check.explanation else check.reason
        yield _row(check.gate, figure(check.value), figure(check.bound), difference(check), reason)


def _header(*columns: str) -> Iterator[str]:
    yield _row(*columns)
    yield f"|{'---|' * len(columns)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(cell: str) -> str:
    """Escaped Markdown, on one line: class names may hold any character."""
    for sign in "\\|`*[]<>":
        cell = cell.replace(sign, f"\\{sign}")
    return " ".join(cell.split())
