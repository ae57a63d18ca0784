from __future__ import annotations

import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from factories.runner_project import Project, made, ran, stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alambique.errors import AlambiqueError, ConfigurationError, DataError, IntegrityError
from alambique.messages import Run, StageRequest, StageResult
from alambique.pipeline import graph
from alambique.pipeline.dvc_repository import write_lock
from alambique.runs.run_stage import run_stage

ODD = """
import json, os, pathlib, sys
from alambique.errors import DataError, write_error

def explained():
    write_error(DataError("no boxes in train/7.png"))
    sys.exit(65)

def silent():
    sys.exit(3)

def seen():
    pathlib.Path("seen").write_text(json.dumps(dict(os.environ)))

def meddling():
    pathlib.Path("data/a.txt").write_text("mine")
    pathlib.Path("meddling").write_text("x")

def validate():
    pathlib.Path("metrics").mkdir(exist_ok=True)
    success = pathlib.Path("data/a.txt").read_text() != "bad"
    failures = [] if success else ["train has no boxes of class 3"]
    pathlib.Path("metrics/validate.json").write_text(json.dumps({"success": success, "failures": failures}))

def dice():
    pathlib.Path("dice").write_text(os.urandom(8).hex())

def always():
    pathlib.Path("always").write_text(os.urandom(8).hex())

globals()[sys.argv[1]]()
"""


def odd(name: str, out: str | None = None, **extra: object) -> dict[str, object]:
    return {"cmd": f"python odd.py {name}", "deps": ["data"], "outs": [out or name], **extra}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("diamond"))
    project.run(project.snapshot())
    return project


@pytest.fixture(scope="module")
def oddities(tmp_path_factory: pytest.TempPathFactory) -> Project:
    names = {name: odd(name) for name in ("explained", "silent", "seen", "meddling", "dice")}
    validate = odd("validate", "metrics/validate.json")
    folder = stage("folder", "folder", "metrics")
    always = odd("always", always_changed=True)
    project = Project(
        tmp_path_factory.mktemp("oddities"), {**names, "validate": validate, "folder": folder, "always": always}
    )
    project.write("odd.py", ODD)
    return project


def alone(project: Project, name: str, run: Run | None = None) -> StageResult:
    """Run one stage that depends on sources only."""
    return run_stage(project.request(run or project.snapshot(), name, {}))


def expected(project: Project) -> dict[str, str]:
    """Every out of the diamond, recomputed in order from the checkout."""
    import yaml

    params = yaml.safe_load((project.checkout / "params.yaml").read_text())
    tree = {
        path.relative_to(project.checkout).as_posix(): path.read_text()
        for source in ("data", "other")
        for path in (project.checkout / source).iterdir()
    }
    for name, declared in project.stages.items():
        seen = {
            path: content
            for path, content in tree.items()
            if any(path == dep or path.startswith(f"{dep}/") for dep in declared["deps"])
        }
        tree[declared["outs"][0]] = made(params[name], seen)
    return {declared["outs"][0]: tree[declared["outs"][0]] for declared in project.stages.values()}


def outs(project: Project, results: dict[str, StageResult]) -> dict[str, str]:
    declared = {name: stage["outs"][0] for name, stage in project.stages.items()}
    return {out: project.content(results[name], out) for name, out in declared.items()}


def test_a_data_commit_makes_exactly_the_dependent_stages_run(project: Project) -> None:
    project.write("other/a.txt", "another a")
    results = project.run(project.snapshot())
    assert ran(results) == {"right", "total", "last"}
    assert outs(project, results) == expected(project)


def test_a_new_file_in_the_data_makes_its_stages_run(project: Project) -> None:
    project.write("data/c.txt", "a third")
    assert ran(project.run(project.snapshot())) == {"left", "total", "last"}


def test_a_changed_param_makes_exactly_its_stage_and_what_follows_run(project: Project) -> None:
    project.param("total", 5)
    results = project.run(project.snapshot())
    assert ran(results) == {"total", "last"}
    assert outs(project, results) == expected(project)


def test_a_stage_that_makes_the_same_again_runs_nothing_after_it(tmp_path: Path) -> None:
    cmd = "python -c \"open('sign','w').write('+')\""
    first = {"cmd": cmd, "deps": ["data"], "params": ["sign"], "outs": ["sign"]}
    project = Project(tmp_path, {"sign": first, "after": stage("after", "after", "sign")})
    project.run(project.snapshot())
    project.param("sign", 1)
    assert ran(project.run(project.snapshot())) == {"sign"}


def test_an_unchanged_commit_runs_nothing_and_downloads_nothing(project: Project, tmp_path: Path) -> None:
    run = project.snapshot()
    before = project.run(run)
    project.deployment = project.deployment.model_copy(update={"home": tmp_path / "another-machine"})
    again = project.run(run)
    assert ran(again) == set()
    assert {result.found for result in again.values()} == {"store"}
    assert {name: result.entry for name, result in again.items()} == {n: r.entry for n, r in before.items()}
    assert not (project.deployment.home / "cache").exists()


def test_what_once_was_made_is_found_again(project: Project) -> None:
    project.param("left", "once")
    project.run(project.snapshot())
    project.param("left", "twice")
    project.run(project.snapshot())
    project.param("left", "once")
    results = project.run(project.snapshot())
    assert ran(results) == set()
    assert outs(project, results) == expected(project)


def test_a_committed_lock_answers_what_depends_on_no_folder(project: Project) -> None:
    results = project.run(project.snapshot())
    write_lock(project.checkout, {name: result.entry for name, result in results.items()})
    again = project.run(project.snapshot())
    assert {name: result.found for name, result in again.items()} == {
        "left": "lock",
        "right": "lock",
        "total": "store",
        "last": "lock",
    }


def test_nothing_is_left_of_a_workspace(project: Project) -> None:
    project.param("last", "new")
    project.run(project.snapshot())
    assert [path.name for path in (project.deployment.home / "workspaces").iterdir()] == [".lock"]


def test_two_stages_of_a_run_work_at_the_same_time(project: Project) -> None:
    project.param("left", "both")
    project.param("right", "both")
    run = project.snapshot()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {name: pool.submit(run_stage, project.request(run, name, {})) for name in ("left", "right")}
    results = {name: job.result() for name, job in jobs.items()}
    assert ran(results) == {"left", "right"}
    for name, out in [("left", "parts/left"), ("right", "parts/right")]:
        assert project.content(results[name], out) == expected(project)[out]


def test_two_workers_with_one_stage_agree_on_one_result(oddities: Project) -> None:
    request = oddities.request(oddities.snapshot(), "dice", {})
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, second = pool.map(run_stage, [request, request])
    assert first.entry == second.entry


def test_another_graph_than_the_runs_is_refused(project: Project) -> None:
    run = project.snapshot().model_copy(update={"digest": "0" * 64})
    with pytest.raises(IntegrityError, match="planned on 000000000000"):
        alone(project, "left", run)


def test_an_upstream_result_that_was_not_given_is_refused(project: Project) -> None:
    request = StageRequest(deployment=project.deployment, run=project.snapshot(), stage="total", upstream={})
    with pytest.raises(IntegrityError, match="lock entry of left lacks parts/left"):
        run_stage(request)


def test_the_error_of_a_stage_arrives_as_its_own_class(oddities: Project) -> None:
    with pytest.raises(DataError, match=r"^no boxes in train/7\.png$") as caught:
        alone(oddities, "explained")
    assert caught.value.exit_code == 65


def test_a_stage_that_fails_without_a_word_is_named(oddities: Project) -> None:
    with pytest.raises(AlambiqueError, match="stage silent failed") as caught:
        alone(oddities, "silent")
    assert caught.value.exit_code == 70


def test_credentials_do_not_reach_a_stage(oddities: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "GIT_ASKPASS", "SSH_AUTH_SOCK", "HF_TOKEN"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen = json.loads(oddities.content(alone(oddities, "seen"), "seen"))
    assert "s3cret" not in seen.values()
    assert seen["HOME"] != os.environ["HOME"]
    assert seen["OMP_NUM_THREADS"] == "1"
    assert seen["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_stage_that_changes_its_input_is_refused_and_leaves_no_result(oddities: Project) -> None:
    run = oddities.snapshot()
    for _ in range(2):  # a result kept from the first time would answer the second
        with pytest.raises(IntegrityError, match="meddling saw a stale input"):
            alone(oddities, "meddling", run)
    cached = [path.read_text() for path in (oddities.deployment.home / "cache" / "files").rglob("*") if path.is_file()]
    assert "data a" in cached


def test_a_failed_verdict_fails_the_stage_by_whichever_route_and_keeps_its_findings(oddities: Project) -> None:
    oddities.write("data/a.txt", "bad")
    run = oddities.snapshot()
    for home in ("one", "two"):  # the second machine finds the first one's result
        oddities.deployment = oddities.deployment.model_copy(update={"home": oddities.root / home})
        with pytest.raises(DataError, match="train has no boxes of class 3"):
            alone(oddities, "validate", run)
    assert not (oddities.root / "two" / "stage-home").exists()
    oddities.write("data/a.txt", "good")
    assert alone(oddities, "validate").found == "ran"


def test_an_always_changed_stage_runs_every_time(oddities: Project) -> None:
    run = oddities.snapshot()
    first, second = alone(oddities, "always", run), alone(oddities, "always", run)
    assert (first.found, second.found) == ("ran", "ran")
    assert first.entry["outs"] != second.entry["outs"]


def test_a_file_of_git_in_a_folder_that_a_stage_depends_on_is_refused(oddities: Project) -> None:
    oddities.write("metrics/notes.txt", "by hand")
    run = oddities.snapshot()
    upstream = {"validate": alone(oddities, "validate", run)}
    with pytest.raises(ConfigurationError, match=r"metrics/notes\.txt"):
        run_stage(oddities.request(run, "folder", upstream))


def test_a_tracked_stage_has_a_run_of_its_own_that_ends_as_the_stage_did(oddities: Project, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from alambique.registry.tracking import start_run

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    oddities.deployment = oddities.deployment.model_copy(update={"tracking_uri": uri})
    oddities.write("data/b.txt", "tracked")
    run = oddities.snapshot()
    run = run.model_copy(update={"tracking_run": start_run(uri, "demo", "run", {})})
    assert alone(oddities, "seen", run).tracking_run is not None
    with pytest.raises(AlambiqueError):
        alone(oddities, "silent", run)
    oddities.deployment = oddities.deployment.model_copy(update={"tracking_uri": None})
    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'demo'")
    statuses = {child.info.run_name: child.info.status for child in client.search_runs([experiment.experiment_id])}
    assert (statuses["seen"], statuses["silent"]) == ("FINISHED", "FAILED")


EDITS = st.one_of(
    st.tuples(st.sampled_from(["data/a.txt", "other/b.txt"]), st.sampled_from(["x", "y"])),
    st.tuples(st.sampled_from(["left", "total", "last"]), st.sampled_from([10, 11])),
    st.just(("record", 0)),
)


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EDITS, min_size=2, max_size=3))
def test_no_stage_ever_sees_a_stale_input(project: Project, edits: list[tuple[str, object]]) -> None:
    """Whatever is edited, and whatever is committed between, the outs are those of an in-order recomputation."""
    results: dict[str, StageResult] = {}
    for what, value in edits:
        if what == "record":
            write_lock(project.checkout, {name: result.entry for name, result in results.items()})
        elif "/" in what:
            project.write(what, str(value))
        else:
            project.param(what, value)
        results = project.run(project.snapshot())
        assert outs(project, results) == expected(project)
        assert graph.read(project.checkout).stages.keys() == results.keys()
