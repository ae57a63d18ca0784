"""Who wrote what lies on the DVC remote beside DVC's content: a message authentication code with the deployment's key.

DVC's objects are checked against hashes that git holds. A lock entry and a training's state are found by the key of a
stage alone, and no digest of them is known. With `ALAMBIQUE_LOCKS_KEY` in the environment of whoever runs stages, only
those are believed that somebody with the same key wrote; without it, whoever may write to the remote is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from alambique.errors import ConfigurationError

VARIABLE = "ALAMBIQUE_LOCKS_KEY"
SHORTEST = 32
"""Characters: 128 bits in hexadecimal digits."""
BLOCK = 2**20


def secret() -> bytes | None:
    """The deployment's key; None: there is none. A ConfigurationError if it is too short to be one."""
    if not (value := os.environ.get(VARIABLE)):
        return None
    if len(value) < SHORTEST:
        raise ConfigurationError(
            f"{VARIABLE} has {len(value)} characters, fewer than {SHORTEST}; `openssl rand -hex 32` makes one"
        )
    return value.encode()


def code(secret: bytes, name: str, content: bytes | Path) -> str:
    """HMAC-SHA-256 of the content, or of a file's, under a name that says what it is of: no other can pass for it."""
    made = hmac.new(secret, f"{name}\0".encode(), hashlib.sha256)
    if isinstance(content, bytes):
        made.update(content)
    else:
        with content.open("rb") as file:
            while block := file.read(BLOCK):
                made.update(block)
    return made.hexdigest()


def matches(expected: str, given: object) -> bool:
    """Whether a code is the expected one, in constant time."""
    return isinstance(given, str) and hmac.compare_digest(expected.encode(), given.encode(errors="replace"))
