"""Run git commands; the only module that does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from alambique.errors import AlambiqueError, TransientError

IDENTITY = {"GIT_AUTHOR_NAME": "Alambique", "GIT_AUTHOR_EMAIL": "alambique@localhost"}


def git(*arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run git without prompts and return its stripped standard output.

    Raises:
        TransientError: the remote could not be reached.
        AlambiqueError: any other failure, with git's message.
    """
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        **IDENTITY,
        **{key.replace("AUTHOR", "COMMITTER"): value for key, value in IDENTITY.items()},
    }
    done = subprocess.run(
        ["git", *arguments],
        check=False,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0 or not check:
        return done.stdout.strip()
    message = done.stderr.strip()
    transient = ("Could not resolve host", "Connection", "timed out", "early EOF", "unable to access")
    kind = TransientError if any(text in message for text in transient) else AlambiqueError
    raise kind(f"git {arguments[0]} failed in {cwd or Path.cwd()}: {message}")
