from __future__ import annotations

import io
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from alambique.errors import ConfigurationError, DataError, TransientError
from alambique.runs import https, resolve_inputs, weight_sources

URL = "https://example.org/a.pt"


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}


def serve(monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception) -> None:
    def open_url(url: str) -> Answer:
        assert url == URL
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(https, "open_url", open_url)


def test_weights_are_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(monkeypatch, Answer(b"weights"))
    weight_sources.fetch(URL, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(b"w", 9 * 2**30), DataError, "is larger than"),
        (Answer(b"w", 7), TransientError, "ended after 1 of 7 bytes"),
        (urllib.error.HTTPError(URL, 404, "Not Found", Message(), None), DataError, "answers 404 Not Found"),
        (urllib.error.HTTPError(URL, 503, "Busy", Message(), None), TransientError, "answers 503"),
        (urllib.error.URLError("no such host"), TransientError, "is out of reach: no such host"),
    ],
)
def test_what_is_not_served_is_said(
    answer: Any, kind: type, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, answer)
    with pytest.raises(kind, match=message):
        https.download(URL, tmp_path / "a.pt")


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(monkeypatch, Answer(b"x" * 20, 0))
    monkeypatch.setattr(https, "LARGEST", 10)
    with pytest.raises(DataError, match="is larger than 10 bytes"):
        https.download(URL, tmp_path / "a.pt")


def test_a_redirection_to_http_is_refused() -> None:
    handler, request = https._StaysHttps(), urllib.request.Request(URL)
    with pytest.raises(DataError, match="redirects to http:"):
        handler.redirect_request(request, io.BytesIO(), 302, "", Message(), "http://example.org/a.pt")
    assert handler.redirect_request(request, io.BytesIO(), 302, "", Message(), "https://example.org/b.pt")


def test_https_needs_a_pin(tmp_path: Path) -> None:
    sources = resolve_inputs._Sources("cells", None, None, lambda path: None)
    with pytest.raises(ConfigurationError, match="give `sha256` of the file"):
        resolve_inputs._take(tmp_path / "a.pt", URL, None, None, sources)
