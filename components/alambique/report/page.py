"""`report/report.html`: the run on one page which needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alambique.report import plots
from alambique.report.figures import count, number, points, signed
from alambique.report.leaderboard import Leaderboard, Row
from alambique.report.pictures import MIN_SCORE, Picture, color

SUPERLATIVES = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}


class Step(NamedTuple):
    """A row of a student's table: how it came to be, and what that step changed."""

    title: str
    row: Row
    before: str | None
    change: float | None


def render(board: Leaderboard, pictures: Sequence[Picture]) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        board: the leaderboard.
        pictures: test images with boxes; the section is left out when there are none.
    """
    rows = {row["subject"]: row for row in board["rows"]}
    deployable = [row for row in board["rows"] if row["kind"] in {"candidate", "champion"} and row["present"]]
    best = rows.get(board["best"] or "")
    environment = Environment(
        loader=PackageLoader("alambique.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "signed": signed, "number": number, "count": count, "tone": tone}
    return environment.get_template("report.html.j2").render(
        board=board,
        best=best,
        superlative=SUPERLATIVES[board["objective"]],
        teacher=rows["teacher"],
        verdicts=[verdict(student, gain) for student, gain in board["distillation_gain"].items()],
        students={student: steps(student, rows, board["runtimes"]) for student in board["students"]},
        champions=[row for row in board["rows"] if row["kind"] == "champion"],
        scatters=[
            (title, Markup(svg))  # noqa: S704  drawn by matplotlib, which escapes names
            for title, svg in _scatters(deployable).items()
            if svg
        ],
        runtime_colors=[(name, plots.COLORS[name]) for name in board["runtimes"]],
        bars=bars(board["classes"], rows, best),
        pictures=pictures,
        min_score=MIN_SCORE,
        colors=[(name, color(index)) for index, name in enumerate(board["classes"])],
        foreign=[row["subject"] for row in board["rows"] if row["present"] and row["data"] != board["data"]],
        highest=max((row["map50_95"] or 0 for row in board["rows"]), default=0) or 1,
    )


def steps(student: str, rows: dict[str, Row], runtimes: Sequence[str]) -> list[Step]:
    """From the teacher to the artifacts, each beside the step it is measured against."""
    chain: list[tuple[str, str, str | None]] = [
        ("Teacher", "teacher", None),
        ("Control, trained without it", f"{student}-control", "teacher"),
        ("Distilled", f"{student}-distilled", f"{student}-control"),
        ("Pruned", f"{student}-pruned", f"{student}-distilled"),
    ]
    for runtime in runtimes:
        name = f"{student}-{runtime}"
        chain += [
            (f"{runtime} FP32", f"{name}-fp32", f"{student}-pruned"),
            (f"{runtime} INT8", f"{name}-int8", f"{name}-fp32"),
        ]
    return [_step(title, rows[subject], rows.get(before or "")) for title, subject, before in chain]


def _step(title: str, row: Row, before: Row | None) -> Step:
    values = (row["map50_95"], before["map50_95"] if before else None)
    change = None if None in values else values[0] - values[1]  # type: ignore[operator]
    name = before["subject"].removeprefix(f"{before['student']}-") if before else None
    return Step(title, row, name, change)


def verdict(student: str, gain: float | None) -> tuple[str, float | None, str]:
    """What distillation was worth to a student, said plainly."""
    if gain is None:
        text = "cannot be told: the distilled student or its control has no mAP"
    elif gain > 0.0005:
        text = "the teacher's soft labels made the student better than the same steps on labels alone"
    elif gain < -0.0005:
        text = "the student would have been better off without the teacher this time"
    else:
        text = "the teacher made no difference this time"
    return student, gain, text


def bars(
    classes: Sequence[str], rows: dict[str, Row], best: Row | None
) -> list[tuple[str, list[tuple[str, float | None]]]]:
    """AP of each class by subject: teacher, the best candidate's control, the best candidate."""
    columns = [rows["teacher"]]
    if best:
        columns += [rows[f"{best['student']}-control"], best]
    return [(name, [(row["subject"], row["ap"].get(name)) for row in columns]) for name in classes]


def _scatters(rows: Sequence[Row]) -> dict[str, str | None]:
    return {
        "Accuracy against latency": plots.accuracy_against(rows, "latency_p50_ms", "median latency of one image, ms"),
        "Accuracy against size": plots.accuracy_against(rows, "size_mb", "size of the artifact, MB"),
    }


def tone(change: float | None) -> str:
    """The class that colours a change."""
    if change is None or abs(change) < 0.0005:
        return "even"
    return "gain" if change > 0 else "loss"
