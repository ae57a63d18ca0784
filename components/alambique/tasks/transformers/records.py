"""JSON objects as people keep texts and conversations, rewritten as `dataset` has them.

OpenAI's messages       {"messages": [{"role": "user", "content": …}, …]}
ShareGPT's              {"conversations": [{"from": "human", "value": …}, …]}
Alpaca's                {"instruction": …, "input": …, "output": …}
prompt and completion   {"prompt": …, "completion": …}, each a text or messages
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from alambique.tasks.transformers.dataset import Message

TEXT = ("text", "sentence", "utterance")
LABEL = ("label", "category", "intent", "class")
"""What the text and the label of a row may be called where texts are classified."""

MESSAGES = ("messages", "conversations", "conversation")
ROLES = {
    **{"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant"},
    **{"gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "tool": "tool"},
    **{"function": "tool", "observation": "tool", "function_response": "tool"},
}
"""The role that is meant by a message's `role` or `from`."""
PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
)
"""Keys of what the user says, and of what the assistant answers."""
FURTHER = ("input", "context")
"""Keys of what the user adds to an instruction."""
CALLS = ("tool_calls", "function_call")

EXPECTED = "expected `text`, `messages` or `conversations`, `instruction` and `output`, or `prompt` and `completion`"


class Record(NamedTuple):
    """A sample as `dataset` has it.

    Attributes:
        content: `text` or `messages`, and a `label` if any; they may hold anything.
        ignored: keys with a value that has no place in it.
    """

    content: dict[str, Any]
    ignored: list[str]


def rewrite(record: Any, labelled: bool) -> Record:
    """A JSON object as a sample.

    Args:
        labelled: texts are classified, and text and label may have any name of `TEXT` and `LABEL`.
    Raises:
        ValueError: it has none of the known forms; or a message calls a tool, has no text or an unknown role.
    """
    if not isinstance(record, dict):
        raise ValueError('expected an object, as in {"text": "…"}')
    given = {key: value for key, value in record.items() if value is not None}  # tables as JSON have every column
    content, used = _content(given, labelled)
    label = next((key for key in (LABEL if labelled else LABEL[:1]) if key in given), None)
    if label is not None:
        content["label"] = _label(given[label]) if labelled else given[label]
    ignored = [key for key in given if key not in {*used, label} and given[key] not in ("", [], {})]
    for message in content.get("messages", ()):
        ignored += [f"messages[].{key}" for key in message.pop("ignored", ())]
    return Record(content, ignored)


def _label(value: Any) -> Any:
    """A class as a table has it: without spaces around, and a number as a name; an empty one is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else value


def _content(given: dict[str, Any], labelled: bool) -> tuple[dict[str, Any], set[str]]:
    """The text or the messages of an object, and which keys they came from."""
    for key in MESSAGES:
        if key in given:
            system, used = _system(given)
            return {"messages": [*system, *_messages(key, given[key])]}, {key, *used}
    for key in TEXT if labelled else TEXT[:1]:
        if key in given:
            return {"text": given[key]}, {key}
    for asked, answered in PAIRS:
        if asked in given and answered in given:
            return _pair(given, asked, answered)
    raise ValueError(f"{EXPECTED}, found {', '.join(given) or 'an object without values'}")


def _pair(given: dict[str, Any], asked: str, answered: str) -> tuple[dict[str, Any], set[str]]:
    system, used = _system(given)
    further = next((key for key in FURTHER if given.get(key) and asked == "instruction"), None)
    request = _turn(asked, given[asked], "user")
    if further is not None and request:
        request[-1]["content"] += f"\n\n{_string(further, given[further])}"
    history: list[Message] = []
    for turn in given.get("history") or ():
        if not isinstance(turn, list) or len(turn) != 2:
            raise ValueError(f"history: expected pairs of a question and an answer, got {turn!r:.80}")
        history += [*_turn("history", turn[0], "user"), *_turn("history", turn[1], "assistant")]
    messages = [*system, *history, *request, *_turn(answered, given[answered], "assistant")]
    return {"messages": messages}, {asked, answered, *used, "history", *([further] if further else [])}


def _system(given: dict[str, Any]) -> tuple[list[Message], set[str]]:
    if not given.get("system"):
        return [], set()
    return [{"role": "system", "content": _string("system", given["system"])}], {"system"}


def _turn(key: str, value: Any, role: str) -> list[Any]:
    return _messages(key, value) if isinstance(value, list) else [{"role": role, "content": _string(key, value)}]


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key}: expected a string, got {value!r:.80}")
    return value


def _messages(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key}: expected a list of at least one message, got {value!r:.80}")
    return [_message(f"{key}[{number}]", message) for number, message in enumerate(value)]


def _message(place: str, message: Any) -> dict[str, Any]:
    """A message, and under `ignored` which of its keys have no place in it."""
    if not isinstance(message, dict):
        raise ValueError(f"{place}: expected an object with a role and a content, got {message!r:.80}")
    given = {key: value for key, value in message.items() if value is not None}
    said_by = given.get("role", given.get("from"))
    role = ROLES.get(said_by.lower()) if isinstance(said_by, str) else None
    if calls := [key for key in CALLS if given.get(key)] + [said_by] * (said_by == "function_call"):
        raise ValueError(
            f"{place}: {calls[0]}: calls of tools cannot be learnt; write the call into `content`, or leave the "
            "conversation out"
        )
    if role is None:
        raise ValueError(f"{place}: expected a role ({', '.join(ROLES)}), got {said_by!r:.80}")
    content = given.get("content", given.get("value"))
    ignored = [key for key in given if key not in {"role", "from", "content", "value"} and given[key] not in ("", [])]
    return {"role": role, "content": _text(place, content), "ignored": ignored}


def _text(place: str, content: Any) -> str:
    """A content, also one that is a list of parts, if all of them are text."""
    parts: Sequence[Any] = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            raise ValueError(f"{place}: content: expected a string, got {'null' if part is None else repr(part):.80}")
        texts.append(text)
    return "\n".join(texts)
