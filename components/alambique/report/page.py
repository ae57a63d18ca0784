"""`report/report.html`: the run on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alambique import gates
from alambique.config.gates import Gate
from alambique.report import checks, plots, search
from alambique.report.artifacts import artifacts
from alambique.report.figures import count, number, points, signed
from alambique.report.leaderboard import Gain, Leaderboard, Row, estimate
from alambique.report.pictures import MIN_SCORE, Picture, color
from alambique.report.verdict import interval, outcome, scope, verdict

SUPERLATIVES = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}


class Step(NamedTuple):
    """A row of a student's table: how it came to be, and what that step changed."""

    title: str
    row: Row
    before: str | None
    change: float | None


class Worth(NamedTuple):
    """What the teacher gave a student: every seed's control and distilled row, none picked, and what they say."""

    student: str
    verdict: str
    gain: Gain | None
    trials: list[tuple[Row, Row]]


def render(
    board: Leaderboard,
    pictures: Sequence[Picture],
    wanted: Sequence[Gate],
    choice: Mapping[str, Any] | None = None,
    sensitivities: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        board: the leaderboard.
        pictures: test images with boxes; the section is left out when there are none.
        wanted: the gates of params.yaml; the page says how the candidates fare.
        choice: the content of choice.json; the section is left out where nothing was searched for.
        sensitivities: by student what each layer's narrowing cost, see `plots.losses`; of those that were scanned.
    """
    rows = {row["subject"]: row for row in board["rows"]}
    deployable = [row for row in board["rows"] if row["kind"] in {"candidate", "champion"} and row["present"]]
    best = rows.get(board["best"] or "")
    fronts = [subject for front in board["pareto"].values() for subject in front]
    environment = templates("alambique.report")
    figures = {"points": points, "signed": signed, "number": number, "count": count, "interval": interval}
    environment.filters |= {**figures, "tone": tone, "outcome": outcome, "estimate": estimate, "figure": checks.figure}
    return environment.get_template("report.html.j2").render(
        board=board,
        best=best,
        superlative=SUPERLATIVES[board["objective"]],
        teacher=rows[board["teacher"]],
        worths=[worth(student, board, rows) for student in board["students"]],
        scope=scope(len(board["seeds"]), board["images"]),
        students={student: steps(student, board, rows) for student in board["students"]},
        artifacts=artifacts(board["rows"]),
        champions=[row for row in board["rows"] if row["kind"] == "champion"],
        field=[row for row in board["rows"] if row["field"]],
        judged=gates.judge_all(board, wanted),
        reach=checks.interval,
        search=choice,
        found=search.verdict(choice) if choice else [],
        asked=search.limits(choice["budget"]) if choice else "",
        fronts=fronts,
        sensitivities=[
            (student, Markup(plots.losses(drops)))  # noqa: S704  as below
            for student, drops in (sensitivities or {}).items()
        ],
        scatters=[
            (title, Markup(svg))  # noqa: S704  drawn by matplotlib, which escapes names
            for title, svg in _scatters(deployable, fronts).items()
            if svg
        ],
        runtime_colors=[(name, plots.COLORS[name]) for name in board["runtimes"]],
        bars=bars(board, rows, best),
        pictures=pictures,
        min_score=MIN_SCORE,
        colors=[(name, color(index)) for index, name in enumerate(board["classes"])],
        foreign=[row["subject"] for row in board["rows"] if row["present"] and row["data"] != board["data"]],
        highest=max((row["map50_95"] or 0 for row in board["rows"]), default=0) or 1,
    )


def worth(student: str, board: Leaderboard, rows: Mapping[str, Row]) -> Worth:
    """See `Worth`."""
    gain = board["distillation_gain"][student]
    trials = [(rows[f"{student}-control-{seed}"], rows[f"{student}-distilled-{seed}"]) for seed in board["seeds"]]
    return Worth(student, verdict(student, gain), gain, trials)


def templates(*packages: str) -> Environment:
    """Where pages come from: templates beside the modules of `packages`, values escaped, no name left undefined."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def steps(student: str, board: Leaderboard, rows: Mapping[str, Row]) -> list[Step]:
    """From the teachers to the artifacts, each beside the step it is measured against; of the seed that is deployed."""
    control, distilled = (f"{student}-{kind}-{board['seeds'][0]}" for kind in ("control", "distilled"))
    teachers = [row["subject"] for row in board["rows"] if row["kind"] == "teacher"]
    chain: list[tuple[str, str, str | None]] = [
        *((f"Teacher {name.removeprefix('teacher-')}", name, None) for name in teachers),
        ("Control, trained without it", control, board["teacher"]),
        ("Distilled", distilled, control),
        ("Pruned", f"{student}-pruned", distilled),
    ]
    for runtime in board["runtimes"]:
        name = f"{student}-{runtime}"
        chain.append((f"{runtime} FP32", f"{name}-fp32", f"{student}-pruned"))
        if f"{name}-int8" in rows:
            chain.append((f"{runtime} INT8", f"{name}-int8", f"{name}-fp32"))
    return [_step(title, rows[subject], rows.get(before or "")) for title, subject, before in chain]


def _step(title: str, row: Row, before: Row | None) -> Step:
    values = (row["map50_95"], before["map50_95"] if before else None)
    change = None if None in values else values[0] - values[1]  # type: ignore[operator]
    name = before["subject"].removeprefix(f"{before['student']}-") if before else None
    return Step(title, row, name, change)


def bars(
    board: Leaderboard, rows: Mapping[str, Row], best: Row | None
) -> list[tuple[str, list[tuple[str, float | None]]]]:
    """AP of each class by subject: the best teacher, the best candidate's control, the best candidate."""
    columns = [rows[board["teacher"]]]
    if best:
        columns += [rows[f"{best['student']}-control-{board['seeds'][0]}"], best]
    return [(name, [(row["subject"], row["ap"].get(name)) for row in columns]) for name in board["classes"]]


def _scatters(rows: Sequence[Row], fronts: Collection[str]) -> dict[str, str | None]:
    latency = plots.accuracy_against(rows, fronts, "latency_p50_ms", "median latency of one image, ms")
    size = plots.accuracy_against(rows, fronts, "size_mb", "size of the artifact, MB")
    return {"Accuracy against latency": latency, "Accuracy against size": size}


def tone(change: float | None) -> str:
    """The class that colours a change."""
    if change is None or abs(change) < 0.0005:
        return "even"
    return "gain" if change > 0 else "loss"
