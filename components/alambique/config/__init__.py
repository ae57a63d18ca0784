"""`params.yaml` and `alambique.yaml` as frozen pydantic models; unknown keys are refused.

params          the sections of params.yaml that all tasks share
detect, heads, classify, text, text_classify    each task's own sections
gate_config     the gates' parameters; their verdicts are in `evaluation.gates`
section         the models' base class and common types
deployment      alambique.yaml: where a project runs
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from alambique.config import classify, detect, heads, text, text_classify
from alambique.config.params import Params
from alambique.errors import ConfigurationError
from alambique.urls import holds_credentials, without_credentials

__all__ = ["TASKS", "Params", "describe", "load", "parse", "read_yaml"]

TASKS: dict[str, type[Params]] = {
    "detect": detect.Params,
    "classify": classify.Params,
    "text": text.Params,
    "text_classify": text_classify.Params,
    "segment": heads.Segment,
    "pose": heads.Pose,
    "obb": heads.Obb,
}
"""The model of each task's params.yaml."""

LONGEST_VALUE = 200
"""Characters of a wrong value that a message repeats."""
MOST_VALUES, DEEPEST = 2_000_000, 200
LARGEST_YAML = 4 * 2**20
"""Bytes; names of 100,000 classes have fewer."""

RENAMED = {
    "arriving": "ingest",
    "arriving.max_bad": "ingest.max_invalid_fraction",
    "budget.epochs": "budget.steps",
    "distill.epochs": "distill.steps",
    "distill.fade": "distill.anneal",
    "distill.min_trust": "distill.min_label_probability",
    "networks.*.start": "networks.*.weights",
    "prune.epochs": "prune.steps",
    "prune.share": "prune.ratio",
    "quantize.qat_epochs": "quantize.qat_steps",
    "teacher.*.epochs": "teacher.*.steps",
    "teacher.*.pretrain": "teacher.*.pretrain_steps",
}
"""Old key → new key; * is any name in that section. An old key is refused with its new name."""


def load(project: Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        ConfigurationError: missing, unreadable or invalid; every invalid key is named by its path.
    """
    return parse(read_yaml(project / "params.yaml"), "params.yaml")


def parse(content: Any, source: str) -> Params:
    """Check the content of a `params.yaml`; see `load`."""
    task = content.get("task", "detect") if isinstance(content, dict) else "detect"
    if task not in TASKS:
        raise ConfigurationError(f"{source}: task: there is no task {task!r}; the tasks are {', '.join(TASKS)}")
    if isinstance(content, dict) and (lines := _renamed(content)):
        raise ConfigurationError("\n".join(f"{source}: {line}" for line in lines))
    try:
        # As JSON, since only there strict types let a list be a tuple: YAML has no tuples.
        return TASKS[task].model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise ConfigurationError(describe(error, source)) from None


def read_yaml(path: Path) -> Any:
    """Parse a YAML file; a ConfigurationError if it is missing or not YAML."""
    try:
        return parse_yaml(path)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; is this the project's root?") from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def parse_yaml(path: Path) -> Any:
    """What a YAML file holds, whoever wrote it.

    Raises:
        ValueError: it is not UTF-8, too large, or not YAML; the message names it.
        OSError: it cannot be read.
    """
    if (size := path.stat().st_size) > LARGEST_YAML:
        raise ValueError(f"{path} has {size:,} bytes, more than {LARGEST_YAML:,}: it is no description")
    try:
        text = path.read_text("utf-8-sig")
        _refuse_depths(text, path)
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            _refuse_bombs(node, path)
            return loader.construct_document(node) if node else None
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}; save it as UTF-8"
        ) from None
    # A date that is none, or brackets that are nested thousands deep, pass the parser and not the constructor.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None


def _refuse_depths(text: str, path: Path) -> None:
    """Refuse brackets in brackets, over which PyYAML's scanner takes time by the square of their number."""
    depth = 0
    for sign in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if sign in "[{" else max(depth - 1, 0)
        if depth > DEEPEST:
            raise ValueError(f"{path} is not YAML that can be read: more than {DEEPEST} brackets in one another")


def _refuse_bombs(root: yaml.Node | None, path: Path) -> None:
    """Refuse aliases that come to more values than a text of this size has, or that contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if (known := sizes.get(id(node))) is not None:
            if known == 0:
                raise ValueError(f"{path} is not YAML that can be read: an alias contains itself")
            return known
        sizes[id(node)] = 0  # while what is inside is counted
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inside = (child for part in parts for child in (part if isinstance(part, tuple) else (part,)))
        sizes[id(node)] = total = 1 + sum(size(child) for child in inside)
        if total > MOST_VALUES:
            raise ValueError(f"{path} has aliases that come to more than {MOST_VALUES:,} values: write them out")
        return total

    if root is not None:
        size(root)


def describe(error: ValidationError, source: str) -> str:
    """One line per error: the key's path, what is wrong, the value."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = item["msg"].removeprefix("Value error, ")
        given = item["input"]
        secret = isinstance(given, dict) or (isinstance(given, str) and holds_credentials(given))
        value = "" if secret else f" (got {without_credentials(_short(repr(given)))})"
        lines.append(f"{source}: {path}: {message}{value}")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… of {len(text):,} characters"


def _renamed(content: Any) -> list[str]:
    """One line for each old key in the content of a params.yaml, with its new name."""
    lines = []
    for old, new in RENAMED.items():
        section = content.get(old.partition(".")[0])
        for name in (section if isinstance(section, dict) else {}) if "*" in old else ["*"]:
            key = old.replace("*", str(name))
            if _holds(content, key.split(".")):
                lines.append(f"{key}: this key is {new.replace('*', str(name))} now{_unit(new)}")
    return lines


def _unit(new: str) -> str:
    return "; give it in updates by the optimizer, not in epochs" if new.endswith("steps") else "; rename it"


def _holds(content: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True
