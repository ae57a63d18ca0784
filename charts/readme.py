"""Write the table of values in the chart's README from its schema and defaults: `python charts/readme.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "alambique"
MARKS = ("<!-- values: written by charts/readme.py -->\n", "<!-- end of values -->\n")


def resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A node with what it refers to; its own description wins."""
    if "$ref" not in node:
        return node
    target: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return resolved(schema, target) | {key: value for key, value in node.items() if key != "$ref"}


def values(schema: dict[str, Any], node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all values below a node, groups before their members."""
    for name, child in node.get("properties", {}).items():
        yield (*path, name)
        yield from values(schema, resolved(schema, child), (*path, name))


def lookup(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The schema of one value."""
    node = schema
    for name in path:
        node = resolved(schema, node["properties"][name])
    return node


def table(schema: dict[str, Any], defaults: dict[str, Any]) -> str:
    """Markdown: a section for each group at the top, a row for each value."""
    members: dict[str, list[tuple[str, ...]]] = {}
    for name, *rest in values(schema, schema):
        members.setdefault(name, []).extend([(name, *rest)] if rest else [])
    text = _rows(schema, defaults, [(name,) for name, paths in members.items() if not paths])
    for name, paths in members.items():
        if paths:
            text += f"\n### `{name}`\n\n{lookup(schema, (name,))['description']}\n\n" + _rows(schema, defaults, paths)
    return text


def _rows(schema: dict[str, Any], defaults: dict[str, Any], paths: list[tuple[str, ...]]) -> str:
    lines = ["| value | meaning | default |", "|---|---|---|"]
    for path in paths:
        node, default = lookup(schema, path), defaults
        for name in path:
            default = default.get(name, {}) if isinstance(default, dict) else {}
        shown = "" if node.get("properties") else f"`{json.dumps(default, ensure_ascii=False)}`"
        choices = "" if "enum" not in node else f" One of {', '.join(f'`{choice}`' for choice in node['enum'])}."
        lines.append(f"| `{'.'.join(path)}` | {node['description']}{choices} | {shown} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README, with the table as it has to be."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    before, _, rest = (CHART / "README.md").read_text().partition(MARKS[0])
    return before + MARKS[0] + "\n" + table(schema, defaults) + "\n" + MARKS[1] + rest.partition(MARKS[1])[2]


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme())
