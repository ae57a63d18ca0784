from __future__ import annotations

import threading
from pathlib import Path

import pytest
from factories.airflow_context import context, deployment
from factories.stub_interpreter import alive, eventually

from alambique.airflow.operators.base import permanent_errors_fail
from alambique.airflow.operators.promotion import RollbackOperator
from alambique.errors import AlambiqueError, DataError


def test_killing_the_task_ends_its_verb(tmp_path: Path) -> None:
    verb = f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(600)"
    task = RollbackOperator(task_id="rollback", deployment=deployment(tmp_path, verb), model="cells-onnx")

    def kill() -> None:
        assert eventually(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(AlambiqueError, match="SIGTERM"):
        task.answer(context())
    killer.join()
    assert not alive(int((tmp_path / "pid").read_text()))


def test_killing_a_task_that_runs_no_verb_does_nothing(tmp_path: Path) -> None:
    RollbackOperator(task_id="rollback", deployment=deployment(tmp_path, ""), model="cells-onnx").on_kill()


def test_permanent_errors_fail_a_task_for_good() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="DataError: empty"), permanent_errors_fail():
        raise DataError("empty")
