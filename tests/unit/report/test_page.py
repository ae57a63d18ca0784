"""The page and the terminal's table of a task that has neither images nor classes."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from markupsafe import Markup
from rich.console import Console

from alambique.config.gate_config import AtMost
from alambique.config.params import Params
from alambique.evaluation import build
from alambique.evaluation.leaderboard import Leaderboard
from alambique.evaluation.measures import Measure
from alambique.layout import evaluation_targets
from alambique.report import page
from alambique.report.pictures import Picture
from alambique.report.terminal import print_leaderboard

MEASURES = {
    "agreement": Measure("next token", shown=True, about="share of the teacher's likeliest tokens that it names"),
    "perplexity": Measure("perplexity", "number", lower_is_better=True, shown=True),
    "tokens_per_second": Measure("tokens/s", "number", shown=True),
    "kl": Measure("KL to the teacher", "number", lower_is_better=True),
}
DRAWN = [("Likeliest tokens", '<svg viewBox="0 0 1 1"><g id="own"/></svg>')]
PICTURES = [Picture("chat/3", 0.25, [("prompt", Markup("<pre>once upon</pre>"))], [("wrong", "#ff0000")])]


@pytest.fixture
def board() -> Leaderboard:
    evaluations: dict[str, dict[str, Any]] = {}
    for place, subject in enumerate(evaluation_targets(["main"], ["pico"], [0], ["onnx"], ["onnx"])):
        figures = {"agreement": 0.5 + place / 100, "perplexity": 4.25, "kl": 0.125, "size_bytes": 1e6}
        there = {"present": True, "data": "today", "images": 40, **figures}
        evaluations[subject.name] = {"present": False} if subject.kind == "champion" else there
    times = {"p50_ms": 8.0, "p95_ms": 9.0, "times_ms": [8.0, 8.1]}
    parity = {"samples": 40, "max_score_difference": 0.01, "max_output_difference": None, "agreement": 0.9}
    evaluations["pico-onnx-int8"]["parity"] = parity
    return build.leaderboard(
        Params.model_construct(
            project="tales",
            task="text",
            teachers=["main"],
            students=["pico"],
            seeds=[0],
            runtimes=["onnx"],
            int8=["onnx"],
            input_size=64,
        ),
        headline="agreement",
        samples="texts",
        measures=MEASURES,
        by_class={},
        data="today",
        classes=[],
        evaluations=evaluations,
        gains={"pico": None},
        parts={"pico": {}},
        advantages={"pico": {"teacher-main": None}},
        intervals={},
        benchmark={"cpu": None, "device": "cpu", "threads": 1, "runs": 2, "latencies": {"pico-onnx-int8": times}},
        agreements={},
    )


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("</style>")[2]).split())


def test_the_page_speaks_of_what_the_task_measures(board: Leaderboard) -> None:
    text = words(page.render(board, [], [], []))
    assert "scores 55.0 next token on 40 test texts, takes 8.00 ms a token" in text
    assert "step next token change perplexity tokens/s MB" in text
    assert "onnx INT8 ◆ 55.0 +1.0 vs onnx-fp32 4.25 125 1.00" in text
    assert "KL to the teacher agreement score ms, p50" in text
    assert "Input 64 tokens" in text
    assert "next token share of the teacher&#39;s likeliest tokens that it names" in text
    assert not re.search(r"image|pixel|box|mAP|None|nan", text)


def test_what_a_task_has_none_of_has_no_section(board: Leaderboard) -> None:
    text = words(page.render(board, [], [], []))
    assert not re.search("Class by class|lowest|in detail|On the test texts", text)


def test_what_the_task_draws_is_shown_as_it_is(board: Leaderboard) -> None:
    html = page.render(board, PICTURES, DRAWN, [])
    assert '<figure><h3>Likeliest tokens</h3><svg viewBox="0 0 1 1"><g id="own"/></svg></figure>' in html
    assert "<pre>once upon</pre>" in html
    assert "On the test texts" in html and '<i style="background: #ff0000"></i>wrong' in html
    assert "chat/3 · teacher and candidate agree to 25 %" in words(html)


def test_gates_of_the_tasks_own_measures_are_judged(board: Leaderboard) -> None:
    text = words(page.render(board, [], [], [AtMost(kind="at_most", metric="kl", value=0.1)]))
    assert "kl at most 0.1 0.125 0.1 40 above_ceiling" in text


def test_a_log_is_as_wide_as_the_measures_ask_for(board: Leaderboard) -> None:
    board["measures"] |= {
        f"m{each}": {**board["measures"]["perplexity"], "label": f"measure {each}"} for each in range(9)
    }
    for row in board["rows"]:
        row["metrics"] |= {f"m{each}": 0.5 for each in range(9)}
    stream = io.StringIO()
    print_leaderboard(board, Console(file=stream))
    assert "tales: 40 test texts" in stream.getvalue()
    assert "measure 8" in stream.getvalue() and "…" not in stream.getvalue()


def test_the_class_that_is_found_least_is_the_weakest() -> None:
    assert page.weakest({"red": 0.9, "white": 0.4, "platelet": 0.6}) == ("white", 0.4)


def test_a_class_that_no_test_image_holds_is_not_the_weakest() -> None:
    assert page.weakest({"red": 0.9, "white": None}) == ("red", 0.9)
    assert page.weakest({"white": None}) is page.weakest({}) is None
