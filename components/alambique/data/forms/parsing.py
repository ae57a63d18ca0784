"""JSON and XML files from outside: bounded in size, and every failure is one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from alambique.errors import DataError

LARGEST = 2 * 2**30
"""Bytes; COCO's own instances_train2017.json has 450 MB."""


def read_json(file: Path) -> Any:
    """The content of a JSON file; a DataError if it is too large or no JSON in UTF-8."""
    with guarded(file, "JSON"):
        return json.loads(_bytes(file).decode("utf-8-sig"))


def read_xml(file: Path) -> ElementTree.Element:
    """The root of an XML file; a DataError if it is too large, no XML, or declares a document type."""
    with guarded(file, "XML"):
        parser = ElementTree.XMLParser(target=_WithoutDoctype())  # noqa: S314
        parser.feed(_bytes(file))
        root: ElementTree.Element = parser.close()
        return root


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE before the entities in it are declared: a few bytes of them expand to gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"it declares the document type {name!r:.40}, which is not taken; remove the line")


@contextmanager
def guarded(file: Path, kind: str) -> Iterator[None]:
    """What the reading of a foreign file raises becomes a DataError with its name."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: " if isinstance(error, AttributeError | LookupError | TypeError) else ""
        raise DataError(f"{file} cannot be read as {kind}: {what}{' '.join(str(error).split())[:200]}") from None


def _bytes(file: Path) -> bytes:
    size = file.stat().st_size
    if size > LARGEST:
        raise DataError(f"{file} has {size:,} bytes, more than the {LARGEST:,} that are read; give it in parts")
    return file.read_bytes()
