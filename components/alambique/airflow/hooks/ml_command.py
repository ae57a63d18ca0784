"""A verb in the ML interpreter: `PYTHON -m alambique.verbs VERB --request FILE --result FILE`, and no orphan after it.

The verb leads a process group of its own. What is left of the group is killed when the verb ends, when it is told to
(`MLCommandHook.kill`), and, through the lifeline, when this process dies without a word.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from alambique.errors import ERROR_FILE, AlambiqueError, ConfigurationError, PermanentError, read_error
from alambique.files import write_text
from alambique.messages import Message
from alambique.process import lifeline

Result = TypeVar("Result", bound=Message)

GRACE = 3.0
"""Seconds between asking a verb to end and killing it; Airflow kills the task itself after five."""

# Airflow's own variables hold database URLs and secrets, so a verb gets only what is named here.
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+"
    r"|(?i:https?|no|all)_(?i:proxy)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(ALAMBIQUE|AWS|DVC|GIT|MLFLOW|SSH)_\w+"
    r"|PYTHONPATH|LD_LIBRARY_PATH|(CUDA|NVIDIA|OMP|YOLO)_\w+"
)


class MLCommandHook:
    """One run of one verb.

    Args:
        python: the ML interpreter.
        verb: its name, as in `alambique.verbs`.
        log: gets the verb's output, line by line.
    """

    def __init__(self, python: Path, verb: str, log: Callable[[str], object]) -> None:
        self.python = python
        self.verb = verb
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, request: Message, result: type[Result]) -> Result:
        """Do the verb and read its answer.

        Args:
            request: what the verb is asked.
            result: the class of its answer.
        Raises:
            PermanentError: what the verb raised, as the class it was raised as; the same request fails again.
            AlambiqueError: what the verb raised, or how it ended; a retry may help.
        """
        with tempfile.TemporaryDirectory(prefix="alambique-") as temporary:
            folder = Path(temporary)
            write_text(folder / "request.json", request.model_dump_json())
            code = self._run(folder)
            if code:
                raise read_error(folder / "error.json") or self._unexplained(code)
            return self._answer(folder / "result.json", result)

    def kill(self) -> None:
        """Ask the verb's group to end, and kill what is left after the grace.

        Returns at once and logs nothing: a signal handler calls it, and may have interrupted the very thread that waits
        for the verb and writes to the log.
        """
        process = self._process
        if process and process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            killer = threading.Timer(GRACE, _kill_unless_over, (process,))
            killer.daemon = True
            killer.start()

    def _run(self, folder: Path) -> int:
        with lifeline.hold() as descriptor, self._start(folder, descriptor) as process:
            # Reading ends when the last holder of the output does, which may be a child that the verb left behind.
            reaper = threading.Thread(target=_end_group_with_leader, args=(process,), daemon=True)
            reaper.start()
            try:
                for line in process.stdout or ():
                    # A progress bar rewrites its line: keep what it came to.
                    self.log(line.rstrip().rpartition(b"\r")[2].decode(errors="backslashreplace"))
            except BaseException:  # Airflow's time limit, or an interrupt
                _signal_group(process.pid, signal.SIGKILL)
                raise
            finally:
                reaper.join()
        return process.returncode

    def _start(self, folder: Path, descriptor: int) -> subprocess.Popen[bytes]:
        command = [str(self.python), "-m", "alambique.verbs", self.verb]
        files = ["--request", str(folder / "request.json"), "--result", str(folder / "result.json")]
        own = {lifeline.LIFELINE: str(descriptor), ERROR_FILE: str(folder / "error.json")}
        try:
            self._process = subprocess.Popen(
                command + files,
                stdin=subprocess.DEVNULL,  # in a task, descriptor 0 is the channel to Airflow's supervisor
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(os.environ, self.python) | own,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot start the ML interpreter {self.python}: {error.strerror}; set `python` in alambique.yaml "
                "(or ALAMBIQUE_PYTHON) to an interpreter in which `alambique[ml]` is installed"
            ) from None
        return self._process

    def _unexplained(self, code: int) -> AlambiqueError:
        permanent = code in {PermanentError.exit_code, ConfigurationError.exit_code}
        kind = PermanentError if permanent else AlambiqueError
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return kind(f"the verb {self.verb} {how} and left no error; its output is in this task's log")

    def _answer(self, path: Path, result: type[Result]) -> Result:
        try:
            return result.model_validate_json(path.read_text())
        except (OSError, ValidationError) as error:
            raise PermanentError(
                f"the verb {self.verb} succeeded but left no readable {result.__name__}: {error}; "
                f"is the same version of alambique installed for {self.python} as for Airflow?"
            ) from None


def environment(available: Mapping[str, str], python: Path) -> dict[str, str]:
    """What a verb gets to see: the allow-listed variables, and a PATH on which `python` is the ML interpreter."""
    passed = {name: value for name, value in available.items() if _PASSED.fullmatch(name)}
    return passed | {"PATH": os.pathsep.join([str(python.parent), available.get("PATH", os.defpath)])}


def _end_group_with_leader(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    _signal_group(process.pid, signal.SIGKILL)


def _kill_unless_over(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
