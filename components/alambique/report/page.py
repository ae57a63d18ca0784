"""`report/report.html`: the run's report, one self-contained page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alambique.config.gate_config import Gate
from alambique.evaluation import gates
from alambique.evaluation.leaderboard import Leaderboard, Row, columns, estimate, timed
from alambique.layout import Ablation
from alambique.report import ceilings, distillation, figures, plots, search
from alambique.report.pictures import Picture
from alambique.report.plots import Axis

SUPERLATIVES = {"accuracy": "most accurate", "latency": "fastest", "size": "smallest"}
ABLATIONS: dict[Ablation, str] = {
    "start": "Ablation: labels alone, from the student's start",
    "labelled": "Ablation: without unlabelled samples",
}
EXPORTS = {"pruned", "candidate", "champion"}
"""The kinds of artifacts measured on their runtimes, and of the checkpoint that they were exported from."""


class Step(NamedTuple):
    """A row of a student's table: a step of the pipeline, and how it changed the headline metric."""

    title: str
    row: Row
    before: str | None
    change: float | None


def render(
    board: Leaderboard,
    pictures: Sequence[Picture],
    task_plots: Sequence[tuple[str, str]],
    configured: Sequence[Gate],
    choice: Mapping[str, Any] | None = None,
    sensitivities: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> str:
    """The page's HTML: no date, no address of another host.

    Args:
        pictures: test samples with predictions; without any the section is left out.
        task_plots: the task's own plots, title and <svg> element; without any the section is left out.
        configured: the gates of params.yaml, whose verdicts the page shows.
        choice: the content of choice.json; None without a search.
        sensitivities: by student the cost of pruning each layer, see `plots.pruning_costs`.
    """
    rows = {row["subject"]: row for row in board["rows"]}
    deployable = [row for row in board["rows"] if row["kind"] in {"candidate", "champion"} and row["present"]]
    best = rows.get(board["best"] or "")
    head, *others = columns(board)
    label = board["measures"][head]["label"]
    by_class = list(board["by_class"])
    lowest = by_class[-1] if by_class else ""
    fronts = [subject for front in board["pareto"].values() for subject in front]
    environment = templates("alambique.report")
    filters = (*figures.FILTERS, distillation.outcome, estimate, timed, tone)
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template("report.html.j2").render(
        board=board,
        best=best,
        head=head,
        label=label,
        others=others,
        unshown=[name for name in board["measures"] if name not in {head, *others}],
        described=[
            measure for measure in (*board["measures"].values(), *board["by_class"].values()) if measure["about"]
        ],
        superlative=SUPERLATIVES[board["objective"]],
        teacher=rows[board["teacher"]],
        verdicts=[sentence for student in board["students"] for sentence in distillation.sentences(board, student)],
        notices=list(distillation.teacher_notices(board)),
        still_improving=list(ceilings.notices(board)),
        scope=distillation.scope(board),
        rows=rows,
        students={student: steps(student, board, rows) for student in board["students"]},
        artifacts=[
            (row, weakest(row["by_class"].get(lowest, {})))
            for row in board["rows"]
            if row["kind"] in EXPORTS and row["present"]
        ],
        lowest=board["by_class"].get(lowest),
        boxed=any(row["parity"] and row["parity"]["max_output_difference"] is not None for row in board["rows"]),
        champions=[row for row in board["rows"] if row["kind"] == "champion"],
        on_production=[row for row in board["rows"] if row["field"]],
        judged=gates.judge_all(board, configured),
        difference=figures.difference,
        search=choice,
        search_result=search.verdict(choice, label) if choice else [],
        search_limits=search.limits(choice["budget"]) if choice else "",
        fronts=fronts,
        sensitivities=[
            (student, Markup(plots.pruning_costs(drops, label)))  # noqa: S704  as below
            for student, drops in (sensitivities or {}).items()
        ],
        scatters=[
            (title, Markup(svg))  # noqa: S704  drawn by matplotlib, which escapes names
            for title, svg in _scatters(deployable, fronts, board).items()
            if svg
        ],
        runtime_colors=[(name, plots.COLORS[name]) for name in board["runtimes"]],
        bar_measure=board["by_class"][by_class[0]] if by_class else None,
        bars=bars(board, rows, best),
        task_plots=[(title, Markup(svg)) for title, svg in task_plots],  # noqa: S704  as above
        pictures=pictures,
        colors=list(dict.fromkeys(entry for picture in pictures for entry in picture.key)),
        other_data=[row["subject"] for row in board["rows"] if row["present"] and row["data"] != board["data"]],
        highest=max((row["metrics"][head] or 0 for row in board["rows"]), default=0) or 1,
    )


def weakest(by_class: Mapping[str, float | None]) -> tuple[str, float] | None:
    """The class with the lowest figure, the first of several, and the figure; None if none is known."""
    known = [(name, value) for name, value in by_class.items() if value is not None]
    return min(known, key=lambda entry: entry[1], default=None)


def templates(*packages: str) -> Environment:
    """A Jinja environment of the templates in `packages`: values are escaped, undefined names are errors."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def steps(student: str, board: Leaderboard, rows: Mapping[str, Row]) -> list[Step]:
    """The steps from the teachers to the artifacts, each with its change against an earlier step; of the first seed."""
    kinds = ("control", "distilled", *ABLATIONS)
    control, distilled, *ablations = (f"{student}-{kind}-{board['seeds'][0]}" for kind in kinds)
    teachers = [row["subject"] for row in board["rows"] if row["kind"] == "teacher"]
    chain: list[tuple[str, str, str | None]] = [
        *((f"Teacher {name.removeprefix('teacher-')}", name, None) for name in teachers),
        ("Control, trained without it", control, board["teacher"]),
        *((title, name, control) for title, name in zip(ABLATIONS.values(), ablations, strict=True) if name in rows),
        ("Distilled", distilled, control),
        ("Pruned", f"{student}-pruned", distilled),
    ]
    for runtime in board["runtimes"]:
        name = f"{student}-{runtime}"
        chain.append((f"{runtime} FP32", f"{name}-fp32", f"{student}-pruned"))
        if f"{name}-int8" in rows:
            chain.append((f"{runtime} INT8", f"{name}-int8", f"{name}-fp32"))
    return [_step(title, rows[subject], rows.get(before or ""), board["headline"]) for title, subject, before in chain]


def _step(title: str, row: Row, before: Row | None, headline: str) -> Step:
    values = (row["metrics"][headline], before["metrics"][headline] if before else None)
    change = None if None in values else values[0] - values[1]  # type: ignore[operator]
    name = before["subject"].removeprefix(f"{before['student']}-") if before else None
    return Step(title, row, name, change)


def bars(
    board: Leaderboard, rows: Mapping[str, Row], best: Row | None
) -> list[tuple[str, list[tuple[str, float | None]]]]:
    """The first figure by class, by subject: the best teacher, the best candidate's control, the best candidate."""
    if not board["by_class"]:
        return []
    measure = next(iter(board["by_class"]))
    compared = [rows[board["teacher"]]]
    if best:
        compared += [rows[f"{best['student']}-control-{board['seeds'][0]}"], best]
    return [
        (name, [(row["subject"], row["by_class"][measure].get(name)) for row in compared]) for name in board["classes"]
    ]


def _scatters(rows: Sequence[Row], fronts: Collection[str], board: Leaderboard) -> dict[str, str | None]:
    accuracy = Axis(board["headline"], board["measures"][board["headline"]]["label"])
    time = Axis("latency_p50_ms", f"median latency of {figures.singular(timed(board))}, ms")
    latency = plots.accuracy_against(rows, fronts, time, accuracy)
    size = plots.accuracy_against(rows, fronts, Axis("size_mb", "size of the artifact, MB"), accuracy)
    return {"Accuracy against latency": latency, "Accuracy against size": size}


def tone(change: float | None) -> str:
    """The CSS class of a change."""
    if change is None or abs(change) < 0.0005:
        return "even"
    return "gain" if change > 0 else "loss"
