"""What distillation was worth, and whether the teacher knows more than the control, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from alambique.evaluation.leaderboard import Gain, Leaderboard
from alambique.report.figures import interval, points, signed

SHOWN = 0.0005
"""Smallest gain, 0 to 1, that is not shown as 0.0 points."""


def outcome(gain: Gain | None) -> Literal["gain", "loss", "even"]:
    """A gain or a loss if the interval excludes zero and the gain is at least `SHOWN`."""
    if gain is None or gain["low"] <= 0 <= gain["high"] or abs(gain["value"]) < SHOWN:
        return "even"
    return "gain" if gain["value"] > 0 else "loss"


def verdict(board: Leaderboard, student: str) -> str:
    """One sentence: what distillation was worth to a student, with its 95 % interval, and how good its teacher is."""
    label, gain = board["measures"][board["headline"]]["label"], board["distillation_gain"][student]
    if gain is None:
        return (
            f"What distillation is worth to {student} is unknown: "
            f"a distilled student or a control has no {label} on today's test split."
        )
    distilled, control = (_headline(board, kind, student) for kind in ("distilled", "control"))
    change, size, figures = signed(gain["value"]), points(abs(gain["value"])), f"points of {label} {interval(gain)}"
    words = {
        "gain": f"The distilled student {student} gains {size} {figures} over",
        "loss": f"The distilled student {student} loses {size} {figures} against",
        "even": f"Distillation made no clear difference to student {student}: {change} {figures} against",
    }[outcome(gain)]
    network = "the same network trained on labels alone (control)"
    return f"{words} {network}, {distilled} against {control}; {_teacher(board, student)}."


def sentences(board: Leaderboard, student: str) -> Iterator[str]:
    """What distillation was worth to a student and, where ablations split it, what each part is due to."""
    yield verdict(board, student)
    if parts := board["gain_parts"][student]:
        figures = (f"{part['of']} {signed(part['value'])} {interval(part)}" for part in parts)
        yield f"Of these points: {', '.join(figures)}."


def teacher_notices(board: Leaderboard) -> Iterator[str]:
    """A sentence for each teacher and student where the teacher is not better than the control beyond its interval."""
    label = board["measures"][board["headline"]]["label"]
    for student in board["students"]:
        advantages = board["teacher_advantage"][student]
        for name, advantage in advantages.items():
            if advantage is None or advantage["low"] > 0:
                continue
            teacher = "the teacher" if len(advantages) == 1 else f"the teacher {name.removeprefix('teacher-')}"
            figures = f"{label} {_headline(board, name)} against {_headline(board, 'control', student)}"
            known = f"{teacher} knows no more than the control of {student}"
            if advantage["value"] > 0:
                known = f"as far as {advantage['images']} test {board['samples']} show, {known}"
            yield (
                f"{known[0].upper()}{known[1:]} ({figures}, difference {signed(advantage['value'])} "
                f"{interval(advantage)}): there is nothing to distill{' from it' if len(advantages) > 1 else ''}; "
                f"train {teacher} longer, on more labels, or from better weights."
            )


def _headline(board: Leaderboard, name: str, student: str | None = None) -> str:
    """The headline metric of a teacher, or of a student's checkpoints of a kind, mean over the seeds, in points."""
    rows = [row for row in board["rows"] if row["student"] == student and name in {row["kind"], row["subject"]}]
    return points(sum(row["metrics"][board["headline"]] or 0.0 for row in rows) / len(rows))


def _teacher(board: Leaderboard, student: str) -> str:
    """The most accurate teacher beside the control."""
    advantage = board["teacher_advantage"][student][board["teacher"]]
    if advantage is None:
        return "how the teacher compares is unknown"
    value = f"the teacher has {_headline(board, board['teacher'])}"
    if advantage["low"] <= 0:
        return value
    return f"{value}, {points(advantage['value'])} {interval(advantage)} more than the control"


def scope(board: Leaderboard) -> str:
    """Which sources of variance the intervals cover."""
    of, training = "one training of each", "only, not the randomness of training. More seeds in params.yaml would."
    if len(board["seeds"]) > 1:
        of = f"the mean of all {len(board['seeds'])} seeds"
        training = "and the randomness of training, as far as so many seeds show it."
    samples = f"the {board['images']} test {board['samples']}"
    return f"Distilled minus control, {of}: the 95 % interval covers the choice of {samples} {training}"
