from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from factories.tiny_detection import NETWORK, params

from alambique import tasks
from alambique.errors import ConfigurationError, DataError, IntegrityError, TransientError
from alambique.process.environment import prepare
from alambique.runs import https, initial_params, resolve_inputs, weight_sources
from alambique.tasks.yolo import network

prepare()

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


def test_weights_that_init_is_given_by_https_are_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network.save(network.build(NETWORK, ["a"], seed=0), tmp_path / "a.pt", image_size=64)
    content = (tmp_path / "a.pt").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    serve(monkeypatch, Answer(content))
    found = initial_params.from_weights(tasks.load("detect"), URL, params(), {}, None)
    assert found["teacher"]["main"] == {"weights": URL, "sha256": digest}
    serve(monkeypatch, Answer(content))
    given = {"teacher": {"main": {"sha256": "0" * 64}}}
    with pytest.raises(IntegrityError, match=f"has sha256 {digest}, but --params pins 000"):
        initial_params.from_weights(tasks.load("detect"), URL, params(), given, None)
