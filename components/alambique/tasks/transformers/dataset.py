"""A dataset of texts, read-only: a data.yaml that names a JSON Lines file for each split, and the classes if any.

A line is an object with `text`, or with `messages`, each of a role and its content; beside either may stand a `label`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alambique.data.dataset import DESCRIPTION, LABELLED, SPLITS, class_names, read_description
from alambique.errors import DataError

ROLES = ("system", "user", "assistant", "tool")
SUFFIX = ".jsonl"

Message = dict[str, str]
"""The author's `role`, and the `content`."""


class Text(NamedTuple):
    """One sample.

    Attributes:
        name: split and number, as in train/000012: the line of the file, counted from 0.
        text: as it stands; of a conversation, the contents of its messages, one a line.
        label: of its class, where it has one.
        messages: of a conversation.
    """

    name: str
    text: str
    label: str | None = None
    messages: tuple[Message, ...] = ()


class Line(NamedTuple):
    """A line of a file: a sample, or why it is none."""

    name: str
    text: Text | None
    error: str | None


@dataclass(frozen=True)
class Texts:
    """Where a dataset's texts are.

    Attributes:
        root: the folder of data.yaml.
        classes: names by class index; none where nothing is labelled.
        files: each split's file, in `root`.
    """

    root: Path
    classes: list[str]
    files: dict[str, str]

    @classmethod
    def load(cls, root: Path) -> Texts:
        """Read `root`/data.yaml.

        Raises:
            DataError: it is missing, not YAML, or names files of another kind.
        """
        source = root / DESCRIPTION
        content = read_description(source, "it needs train, val and test")
        files = {split: str(content[split]) for split in SPLITS if content.get(split)}
        for split, name in files.items():
            if Path(name).name != name or not name.endswith(SUFFIX):
                raise DataError(f"{source}: {split}: {name} is not a file beside it, as in {split}{SUFFIX}")
        names = content.get("names")
        return cls(root, class_names(names, source) if names else [], files)

    def has(self, split: str) -> bool:
        return split in self.files

    def labelled(self) -> Texts:
        return replace(self, files={split: self.files[split] for split in LABELLED if self.has(split)})

    def size(self, split: str) -> int:
        return sum(1 for _ in self.lines(split))

    def texts(self, split: str) -> list[Text]:
        """The samples of a split, in the order of its file; none if the dataset lacks the split.

        Raises:
            DataError: a line is no sample; the message names file and line.
        """
        texts = []
        for line in self.lines(split):
            if line.text is None:
                raise DataError(f"{self.root / self.files[split]}: {line.name}: {line.error}")
            texts.append(line.text)
        return texts

    def training_texts(self) -> list[Text]:
        """What students are trained on: the samples of train, then those without labels."""
        return [text for split in ("train", "unlabelled") for text in self.texts(split)]

    def lines(self, split: str) -> Iterator[Line]:
        """Every line of a split, broken ones too."""
        if not self.has(split):
            return
        path = self.root / self.files[split]
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}; correct {split} in data.yaml") from None
        for number, line in enumerate(lines[:-1] if not lines[-1].strip() else lines):
            yield read_line(f"{split}/{number:06d}", line)

    def digest(self, split: str) -> str:
        """sha256 over the class names and the split's samples."""
        digest = hashlib.sha256("".join(f"{name}\n" for name in self.classes).encode())
        for line in self.lines(split):
            digest.update(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()


def write(target: Path, splits: dict[str, list[Text]], classes: list[str]) -> None:
    """Write a dataset into the folder `target`, which is made; names become those of the new places."""
    target.mkdir(parents=True)
    content: dict[str, Any] = {split: f"{split}{SUFFIX}" for split in splits}
    if classes:
        content["names"] = dict(enumerate(classes))
    for split, texts in splits.items():
        lines = []
        for text in texts:
            record: dict[str, Any] = {"messages": list(text.messages)} if text.messages else {"text": text.text}
            if text.label is not None:
                record["label"] = text.label
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        (target / f"{split}{SUFFIX}").write_text("".join(lines))
    (target / DESCRIPTION).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def written(text: Text) -> str:
    """A text for people: of a conversation each message after who wrote it."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in text.messages) or text.text


def class_labels(splits: dict[str, list[Text]]) -> list[str]:
    """The labels of the labelled splits' samples, sorted."""
    return sorted({text.label for split in LABELLED for text in splits.get(split, ()) if text.label is not None})


def read_line(name: str, line: bytes | str) -> Line:
    """A sample from the JSON of its line."""
    try:
        return Line(name, parse_record(name, parse_json(line)), None)
    except ValueError as error:
        return Line(name, None, str(error))


def parse_json(content: bytes | str) -> Any:
    """What JSON says; a ValueError says where it is none."""
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ValueError(f"not JSON: {error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: it is nested too deep") from None


def key(text: Text) -> str:
    """Equal for texts that differ in white space or case alone."""
    return hashlib.sha256(" ".join(text.text.lower().split()).encode()).hexdigest()


def parse_record(name: str, record: Any) -> Text:
    """A sample from the object on its line; ValueError says why it is none."""
    if not isinstance(record, dict):
        raise ValueError('expected an object, as in {"text": "…"}')
    label, messages, text = record.get("label"), record.get("messages"), record.get("text")
    if label is not None and not isinstance(label, str):
        raise ValueError(f"label: expected a class name, got {label!r}")
    if messages is not None:
        turns = tuple(_message(message) for message in messages) if isinstance(messages, list) else ()
        if not turns:
            raise ValueError("messages: expected a list of at least one")
        return Text(name, _whole("\n".join(message["content"] for message in turns)), label, turns)
    if not isinstance(text, str):
        raise ValueError(f"text: expected a string, got {text!r}")
    return Text(name, _whole(text), label)


def _message(message: Any) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ROLES or not isinstance(message.get("content"), str):
        raise ValueError(f"messages: expected a role ({', '.join(ROLES)}) and its content, got {message!r}")
    return {"role": role, "content": message["content"]}


def _whole(text: str) -> str:
    """The text; a ValueError where JSON's escapes hold half of a character, which no file can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair, {text[error.start]!r}") from None
    return text
