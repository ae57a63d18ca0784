"""The key pair of a deployment's releases: Ed25519, in PEM files, by `cryptography`.

The publisher signs each model's pointer with the private key that `ALAMBIQUE_RELEASES_KEY` names. A pointer holds the
SHA-256 of its release's manifest, and that of every file, so that one signature vouches for all of it. A device has the
public key as <link>.pub beside its link; see `alambique.pull`.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alambique.errors import ConfigurationError
from alambique.pull import SIGNATURE, signed_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIABLE = "ALAMBIQUE_RELEASES_KEY"

log = logging.getLogger(__name__)


def create(path: Path) -> Path:
    """Write a new private key to `path`, readable by its owner alone; returns the path of the public key beside it.

    Raises:
        ConfigurationError: one of the files is there already.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = path.with_name(f"{path.name}.pub")
    if taken := [str(file) for file in (path, public) if file.exists()]:
        raise ConfigurationError(f"{' and '.join(taken)}: there already, and devices may know it; name another file")
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def signed(pointer: Mapping[str, Any]) -> dict[str, Any]:
    """The pointer with its signature; without one, and with a line in the log, where no key is set.

    Raises:
        ConfigurationError: the key cannot be read.
    """
    if (key := _key()) is None:
        log.info("the pointer of %s is not signed: %s names no private key", pointer["model"], VARIABLE)
        return dict(pointer)
    return {**pointer, SIGNATURE: base64.b64encode(key.sign(signed_bytes(pointer))).decode()}


def _key() -> Ed25519PrivateKey | None:
    if not (name := os.environ.get(VARIABLE)):
        return None
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise ConfigurationError(f"{VARIABLE} is set, but {error}; run `pip install cryptography`") from None
    try:
        key = load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{VARIABLE}: {name} is no private key: {error}; `alambique release-key` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{VARIABLE}: {name} is no Ed25519 key; `alambique release-key` makes one")
    return key
