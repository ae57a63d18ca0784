"""Download weights by HTTPS, bounded in size; whoever calls compares their SHA-256 with the pin."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from alambique.errors import DataError, TransientError

SCHEME = "https://"
LARGEST = 8 * 2**30
"""Bytes."""
TIMEOUT = 60
"""Seconds without an answer."""
PASSING = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed."""


class _StaysHttps(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to another scheme, where anybody on the way could answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(SCHEME):
            raise DataError(f"{req.full_url} redirects to {newurl.partition(':')[0]}:, not to https:; give another URL")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, target: Path) -> None:
    """Write what `url` serves to the file `target`.

    Raises:
        DataError: there is nothing, it may not be read, it is larger than `LARGEST`, or it is redirected elsewhere.
        TransientError: the server is out of reach, or failed in a way that may pass.
    """
    try:
        with open_url(url) as answer, target.open("wb") as file:
            size, expected = 0, _length(answer.headers, url)
            while part := answer.read(2**20):
                size += len(part)
                if size > LARGEST:
                    raise DataError(_too_large(url))
                file.write(part)
    except urllib.error.HTTPError as error:
        kind = TransientError if error.code >= 500 or error.code in PASSING else DataError
        raise kind(f"{url} answers {error.code} {error.reason}; correct the URL, or try it in a browser") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise TransientError(f"{url} is out of reach: {reason}; start again when it is there") from None
    if expected is not None and size != expected:
        raise TransientError(f"{url} ended after {size:,} of {expected:,} bytes; start again")


def open_url(url: str) -> Any:
    """The answer to a GET, of which only the headers are read yet."""
    opener = urllib.request.build_opener(_StaysHttps)
    return opener.open(urllib.request.Request(url, headers={"User-Agent": "alambique"}), timeout=TIMEOUT)  # noqa: S310


def _length(headers: Mapping[str, str], url: str) -> int | None:
    length = headers.get("Content-Length", "")
    if not length.isdecimal():
        return None
    if int(length) > LARGEST:
        raise DataError(_too_large(url))
    return int(length)


def _too_large(url: str) -> str:
    return f"{url} is larger than {LARGEST:,} bytes, which no weights are; correct the URL"
