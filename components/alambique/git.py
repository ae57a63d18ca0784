"""Run git commands; the only module that does.

Text from outside (a form, alambique.yaml, a ledger) is a ref's name or a repository's address here, never an option:
names are refused as `git check-ref-format` refuses them, and options end before addresses.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alambique.errors import AlambiqueError, ConfigurationError, TransientError

IDENTITY = {"GIT_AUTHOR_NAME": "Alambique", "GIT_AUTHOR_EMAIL": "alambique@localhost"}

LONGEST_REF = 200
"""Characters of a ref's name: more is no file's name on most file systems, and git keeps refs in files."""
REF = (
    r"^(?!-)(?!@$)(?!\.)(?!.*(?:\.\.|@\{|//|/\.|\.lock/))"
    r"[^\x00-\x20\x7f\ud800-\udfff~^:?*\[\\/][^\x00-\x20\x7f\ud800-\udfff~^:?*\[\\]*$(?<![./])(?<!\.lock)(?!\n)"
)
"""The names of branches and tags, without refs/…: a regular expression as Python and JSON Schema understand it."""


def ref(name: str) -> str:
    """The name of a branch, a tag or a commit, as it may stand among git's arguments.

    Raises:
        ConfigurationError: `git check-ref-format` refuses it, or it begins like an option.
    """
    if len(name) > LONGEST_REF or re.search(REF, name) is None:
        raise ConfigurationError(
            f"{name[:LONGEST_REF]!r} is no name of a branch, tag or commit: `git check-ref-format` says which are"
        )
    return name


def clone(origin: str, target: Path | str, *options: str) -> None:
    """Clone a repository into the folder `target`.

    Args:
        options: of `git clone`.
    Raises:
        TransientError, AlambiqueError: as `git`.
    """
    git("clone", "--quiet", *options, "--", origin, str(target))


def checkout(revision: str, cwd: Path) -> None:
    """Check out a commit, a tag or a branch, which becomes a local one; a ConfigurationError as of `ref`."""
    git("checkout", "--quiet", ref(revision), "--", cwd=cwd)


def git(*arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run git without prompts and return its stripped standard output.

    Args:
        arguments: a name from outside is passed through `ref`, and an address stands after `--`.

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
def fetched(origin: str, name: str, *options: str) -> Iterator[tuple[Path, str | None]]:
    """A throw-away repository with a ref of `origin` checked out, and its commit; empty and None without such a ref.

    Args:
        name: the ref's, with refs/….
        options: of `git fetch`.
    Raises:
        ConfigurationError: as `ref`.
        TransientError, AlambiqueError: as `git`.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-git-") as scratch:
        folder = Path(scratch)
        git("init", "--quiet", cwd=folder)
        if not git("ls-remote", "--", origin, ref(name), cwd=folder):
            yield folder, None
            return
        git("fetch", "--quiet", *options, "--", origin, name, cwd=folder)
        git("checkout", "--quiet", "--detach", "FETCH_HEAD", cwd=folder)
        yield folder, git("rev-parse", "HEAD", cwd=folder)
