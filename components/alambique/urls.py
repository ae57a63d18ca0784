"""URLs that hold a secret: recognised before they are written anywhere, and made unrecognisable in messages."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

NAMED_USERS = frozenset({"ssh", "git+ssh", "ssh+git", "sftp", "hdfs", "webhdfs"})
"""Schemes in whose URLs a user alone is a name: the secret is a key elsewhere. To HTTP, a token may be the user."""

_SENSITIVE = (
    r"password|passwd|pwd|sslpassword|secret|client_secret|token|access_token|private_token|auth_token|api_?key"
    r"|access_?key|secret_?key|sig|signature|x-amz-signature|x-goog-signature"
)
_USER = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)[^\s/?#'\"]*@")
_PARAMETER = re.compile(rf"(?i)([?&;](?:{_SENSITIVE})=)[^&\s'\"]+")


def holds_credentials(url: str) -> bool:
    """Whether a URL, or git's short form user@host:path, holds a password, a token, or what may be one."""
    try:
        parts = urlsplit(url.strip() if _has_scheme(url) else f"//{url.strip()}")
        user, password, query = parts.username, parts.password, parts.query
        if _has_scheme(url):
            _ = parts.port
    except ValueError:  # no port: the rest of a password that has a slash in it reads as a path
        return "@" in url
    if password is not None or any(_secret(name) for name, _ in parse_qsl(query)):
        return True
    return user is not None and _has_scheme(url) and parts.scheme not in NAMED_USERS


def without_credentials(text: str) -> str:
    """A message with users and passwords, and secret parameters, of the URLs in it replaced by an ellipsis."""
    return _PARAMETER.sub(r"\1…", _USER.sub(r"\1…@", text))


def _has_scheme(url: str) -> bool:
    return re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*:/", url) is not None


def _secret(name: str) -> bool:
    return re.fullmatch(_SENSITIVE, name, re.IGNORECASE) is not None
