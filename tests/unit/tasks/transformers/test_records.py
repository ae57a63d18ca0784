from __future__ import annotations

from typing import Any

import pytest

from alambique.tasks.transformers.records import rewrite

HI, YES = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        ({"messages": [HI, YES], "text": None}, [HI, YES]),
        ({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}]}, [HI, YES]),
        ({"conversation": [{"role": "User", "content": [{"type": "text", "text": "hi"}]}, YES]}, [HI, YES]),
        ({"messages": [{"role": "developer", "content": "be"}, HI]}, [{"role": "system", "content": "be"}, HI]),
        (
            {"messages": [HI, {"role": "function", "name": "f", "content": "42"}, YES]},
            [HI, {"role": "tool", "content": "42"}, YES],
        ),
        ({"instruction": "hi", "input": "", "output": "yes"}, [HI, YES]),
        ({"instruction": "say", "input": "it", "output": "yes"}, [{"role": "user", "content": "say\n\nit"}, YES]),
        (
            {"system": "be", "instruction": "hi", "output": "yes", "history": [["hi", "yes"]]},
            [{"role": "system", "content": "be"}, HI, YES, HI, YES],
        ),
        ({"prompt": "hi", "completion": "yes"}, [HI, YES]),
        ({"prompt": [HI], "completion": [YES]}, [HI, YES]),
    ],
)
def test_the_forms_of_conversations_are_one(record: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert rewrite(record, labelled=False).content == {"messages": messages}


def test_names_of_columns_hold_where_texts_are_classified() -> None:
    row = {"utterance": "hi", "intent": " greeting "}
    assert rewrite(row, labelled=True).content == {"text": "hi", "label": "greeting"}
    labels = [rewrite({"text": "hi", "label": label}, labelled=True).content["label"] for label in (3, "3", " ", True)]
    assert labels == ["3", "3", None, True]  # the last is refused with its line
    with pytest.raises(ValueError, match=r"expected `text`.*found utterance, intent"):
        rewrite(row, labelled=False)


def test_keys_without_a_place_are_told() -> None:
    messages = [HI, {**YES, "weight": 0, "tool_calls": None}]
    record = rewrite({"messages": messages, "text": "hi yes", "id": 3, "tools": [], "source": None}, labelled=False)
    assert record.ignored == ["text", "id", "messages[].weight"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "found prompt, chosen, rejected"),
        ({"text": None}, "found an object without values"),
        ({"messages": [HI, {"role": "assistant", "content": None}]}, r"messages\[1\]: content: .*got null"),
        ({"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [{}]}]}, r"messages\[1\]: tool_calls"),
        ({"messages": [HI, {**YES, "function_call": {"name": "f"}}]}, "function_call: calls of tools"),
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "function_call: calls of tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "expected a string"),
        ({"messages": [{"content": "a"}]}, "expected a role"),
        ({"messages": "hi"}, "expected a list of at least one message"),
        ({"instruction": "a", "output": 3}, "output: expected a string, got 3"),
        ({"prompt": "a", "completion": "b", "history": ["c"]}, "history: expected pairs"),
        (["a"], "expected an object"),
    ],
)
def test_what_cannot_be_taken_says_what_was_found(record: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rewrite(record, labelled=False)
