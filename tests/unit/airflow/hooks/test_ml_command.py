from __future__ import annotations

from pathlib import Path

import pytest
from factories.stub_interpreter import interpreter

from alambique.airflow.hooks.ml_command import MLCommandHook, environment
from alambique.errors import AlambiqueError, ConfigurationError, DataError, PermanentError, TransientError
from alambique.messages import Registered, Version

VERSION = Version(candidate="pico-onnx-int8", model="demo-onnx", version="3", sha256="0" * 64)
REQUEST = Registered(versions=[VERSION])
ECHO = "result.write_text(json.dumps(request))"


def run(python: Path) -> Registered:
    return MLCommandHook(python, "register", print).run(REQUEST, Registered)


def fails_with(folder: Path, body: str) -> AlambiqueError:
    with pytest.raises(AlambiqueError) as raised:
        run(interpreter(folder, body))
    return raised.value


def test_a_verb_gets_its_request_and_its_result_is_checked(tmp_path: Path) -> None:
    assert run(interpreter(tmp_path, f"assert verb == 'register'; {ECHO}")) == REQUEST


def test_output_reaches_the_log_line_by_line(tmp_path: Path) -> None:
    lines: list[str] = []
    body = f"print('one'); print('10 %\\r50 %\\r100 %'); print('two', file=sys.stderr); {ECHO}"
    MLCommandHook(interpreter(tmp_path, body), "register", lines.append).run(REQUEST, Registered)
    assert sorted(lines) == ["100 %", "one", "two"]


@pytest.mark.parametrize("kind", [DataError, ConfigurationError, TransientError])
def test_an_error_comes_back_as_the_class_it_was_raised_as(tmp_path: Path, kind: type[AlambiqueError]) -> None:
    body = f"errors.write_error(errors.{kind.__name__}('data/a.png is empty')); sys.exit({kind.exit_code})"
    error = fails_with(tmp_path, body)
    assert (type(error), str(error)) == (kind, "data/a.png is empty")


@pytest.mark.parametrize(("code", "permanent"), [(65, True), (78, True), (75, False), (70, False), (1, False)])
def test_without_an_error_file_the_exit_code_says_whether_to_retry(tmp_path: Path, code: int, permanent: bool) -> None:
    error = fails_with(tmp_path, f"sys.exit({code})")
    assert isinstance(error, PermanentError) is permanent
    assert f"exit code {code}" in str(error)


def test_a_killed_verb_may_be_retried_and_names_the_signal(tmp_path: Path) -> None:
    error = fails_with(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert not isinstance(error, PermanentError)
    assert "SIGKILL" in str(error)


@pytest.mark.parametrize("body", ["pass", "result.write_text('{}')"])
def test_success_without_a_result_of_the_right_kind_is_permanent(tmp_path: Path, body: str) -> None:
    error = fails_with(tmp_path, body)
    assert isinstance(error, PermanentError)
    assert "Registered" in str(error)


def test_a_missing_interpreter_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set `python`"):
        run(tmp_path / "absent")


def test_standard_input_is_empty(tmp_path: Path) -> None:
    run(interpreter(tmp_path, f"assert sys.stdin.read() == ''; {ECHO}"))


def test_airflows_secrets_stay_outside_and_credentials_of_the_stores_pass() -> None:
    given = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://u:p@db/airflow",
        "AIRFLOW_CONN_S3": "secret",
        "DATABASE_URL": "secret",
        "AWS_SECRET_ACCESS_KEY": "k",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "ALAMBIQUE_HOME": "/srv",
        "HTTPS_PROXY": "http://proxy",
        "https_proxy": "http://proxy",
        "CUDA_VISIBLE_DEVICES": "1",
        "PATH": "/usr/bin",
    }
    seen = environment(given, Path("/opt/ml/bin/python"))
    assert set(seen) == set(given) - {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_S3", "DATABASE_URL"}
    assert seen["PATH"] == "/opt/ml/bin:/usr/bin"
