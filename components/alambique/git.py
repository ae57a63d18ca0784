"""Run git commands; the only module that does."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.errors import AlambiqueError, TransientError

IDENTITY = {"GIT_AUTHOR_NAME": "Alambique", "GIT_AUTHOR_EMAIL": "alambique@localhost"}


def git(*arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run git without prompts and return its stripped standard output.

    Raises:
        TransientError: the remote could not be reached, or the disk is full.
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
    message = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
    transient = ("Could not resolve host", "Connection", "timed out", "early EOF", "unable to access", "No space left")
    kind = TransientError if any(text in message for text in transient) else AlambiqueError
    raise kind(f"git {arguments[0]} failed in {cwd or Path.cwd()}: {message}")


@contextmanager
def fetched(origin: str, ref: str, *options: str) -> Iterator[tuple[Path, str | None]]:
    """A throw-away repository with a ref of `origin` checked out, and its commit; empty and None without such a ref.

    Args:
        options: of `git fetch`.
    Raises:
        TransientError, AlambiqueError: as `git`.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-git-") as name:
        folder = Path(name)
        git("init", "--quiet", cwd=folder)
        if not git("ls-remote", origin, ref, cwd=folder):
            yield folder, None
            return
        git("fetch", "--quiet", *options, origin, ref, cwd=folder)
        git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=folder)
        yield folder, git("rev-parse", "HEAD", cwd=folder)
