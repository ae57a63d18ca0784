"""What every task promises to the stages, gates and the report, whatever its models are: see `alambique.tasks.Task`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from factories import small_projects
from factories.small_projects import Small
from rich.console import Console

from alambique import config, layout, tasks
from alambique.config import Params
from alambique.data.expectations import failures, judge
from alambique.errors import ConfigurationError, DataError, IntegrityError
from alambique.evaluation import gates, leaderboard, paired_bootstrap
from alambique.files import read_json, sha256, write_json
from alambique.layout import Candidate
from alambique.pipeline import expansion, graph
from alambique.report.figures import points
from alambique.runs.new_project import init, template_for
from alambique.stages import (
    ablation,
    benchmark,
    compare,
    control,
    distill,
    evaluate,
    export,
    prune,
    quantize,
    search,
    soft_labels,
    teacher,
    validate,
)
from alambique.stages.work import open_program
from alambique.tasks.cards import read_card

TASKS = tuple(config.TASKS)
SLOW = {"segment", "pose", "obb"}
"""They share detection's code, which is tested every day."""
STAGES = {
    *("validate", "teacher", "soft_labels", "distill", "control", "search", "prune", "export", "quantize"),
    *("evaluate_teacher", "evaluate_seed", "evaluate_pruned", "evaluate_fp32", "evaluate_int8", "evaluate_champion"),
    *("benchmark", "compare"),
}
BARELY_TRAINED = {"detect", "segment", "pose", "obb"}
"""Tasks whose small student scores nothing high enough to be compared as a detection."""
PRODUCED = ("evaluations", "metrics", "models", "validation")
"""Folders of what a stage writes, apart from candidates and the report."""


@dataclass(frozen=True)
class Run:
    """A project through which every stage has run once.

    Attributes:
        root: the project.
        task: whose.
        params: of its params.yaml.
        student: its only one.
        small: what it was made from.
    """

    root: Path
    task: tasks.Task
    params: Params
    student: str
    small: Small

    def metrics(self, name: str) -> dict[str, Any]:
        """A metrics file."""
        content: dict[str, Any] = read_json(self.root / layout.METRICS / f"{name}.json")
        return content

    def evaluation(self, subject: str) -> Path:
        """Folder of a subject's results."""
        return self.root / layout.evaluation(subject)

    @property
    def subjects(self) -> list[str]:
        """All that was measured, champions that are not there left out."""
        params = self.params
        targets = layout.evaluation_targets(
            params.teachers, params.students, params.seeds, params.runtimes, params.int8
        )
        return [target.name for target in targets if target.kind != "champion"]

    @property
    def candidates(self) -> list[Candidate]:
        """All artifacts."""
        targets = (layout.EvaluationTarget.parse(name) for name in self.subjects)
        return [Candidate.parse(target.name) for target in targets if target.kind == "candidate"]

    def copy(self, root: Path, *folders: str) -> Path:
        """The project again at `root`, which is made: a copy of these folders, which a test may change; links else."""
        root.mkdir()
        for path in self.root.iterdir():
            if path.name in folders:
                shutil.copytree(path, root / path.name)
            else:
                (root / path.name).symlink_to(path)
        return root


@pytest.fixture(
    scope="session", params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TASKS]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    name = request.param
    mine = small_projects.TASKS[name]()
    home = tmp_path_factory.mktemp(f"contract_{name}")
    mine.write(home / "source")
    (home / "changes.yaml").write_text(yaml.safe_dump(mine.params))
    root = home / "project"
    init(root, str(home / "source"), name, overrides=home / "changes.yaml", origin=None, remote=None)
    params = config.load(root)
    (student,) = params.students
    seed = str(params.seeds[0])
    validate.run(root)
    for each in params.teachers:
        teacher.run(root, each)
    for shard in params.soft_labels.shards:
        soft_labels.run(root, str(shard))
    distill.run(root, student, seed)
    control.run(root, student, seed)
    search.run(root)
    prune.run(root, student)
    for runtime in params.runtimes:
        export.run(root, student, runtime)
    for runtime in params.int8:
        quantize.run(root, student, runtime)
    for subject in layout.evaluation_targets(
        params.teachers, params.students, params.seeds, params.runtimes, params.int8
    ):
        evaluate.run(root, subject.name)
    benchmark.run(root)
    compare.run(root)
    yield Run(root, tasks.load(name), params, student, mine)


@pytest.mark.parametrize("name", TASKS)
def test_what_it_says_of_itself_agrees(name: str) -> None:
    task, params = tasks.load(name), config.TASKS[name]
    assert next(iter(task.measures)) == params.HEADLINE
    assert tuple(task.by_class) == params.BY_CLASS
    assert task.measures[params.HEADLINE].shown
    assert not task.measures[params.HEADLINE].lower_is_better
    assert set(params.INT8) <= set(params.RUNTIMES)
    assert task.about
    assert task.samples


@pytest.mark.parametrize("name", TASKS)
def test_a_new_projects_parameters_hold_all_that_the_stages_declare(name: str) -> None:
    content = yaml.safe_load(template_for(name).read_text()) | {"task": name}
    params = config.parse(content, "params.yaml")
    assert set(type(params).model_fields) == set(content)
    for gate in params.gates:
        assert gate.metric in {*tasks.load(name).measures, *params.BY_CLASS, "latency_p50_ms", "size_mb"}


@pytest.mark.parametrize("name", TASKS)
def test_an_ability_that_it_lacks_is_refused_in_words(name: str) -> None:
    for ability in ("search", "ingest", "drift"):
        if ability not in tasks.load(name).abilities:
            with pytest.raises(ConfigurationError, match=f"{name} has no `{ability}` yet"):
                tasks.require(name, ability)  # type: ignore[arg-type]


def test_the_dataset_holds_its_contract_and_has_a_digest(run: Run) -> None:
    facts = run.task.facts(run.root / layout.DATA, run.params)
    assert failures(judge(facts.tables, facts.contract)) == []
    data = run.task.dataset(run.root / layout.DATA)
    digests = [data.digest(split) for split in ("train", "val", "test")]
    assert len(set(digests)) == 3
    assert digests == [run.task.dataset(run.root / layout.DATA).digest(split) for split in ("train", "val", "test")]
    assert data.has("unlabelled")


def test_a_folder_without_a_dataset_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        run.task.dataset(tmp_path)
    with pytest.raises(DataError):
        run.task.import_dataset(str(tmp_path), tmp_path / "data", run.params)


def test_checkpoints_are_described(run: Run) -> None:
    folders = [layout.teacher(run.params.teachers[0]), layout.checkpoint(run.student, "pruned")]
    folders += [layout.checkpoint(run.student, kind, run.params.seeds[0]) for kind in layout.SEEDED]
    for folder in folders:
        card = read_card(run.root / folder)
        assert card["parameters"] > 0
        assert len(card["sha256"]) == 64
        assert (run.root / folder / layout.CURVES).exists()


def test_the_control_takes_as_many_steps_as_the_distilled(run: Run) -> None:
    seed = run.params.seeds[0]
    distilled, controlled = (run.metrics(f"{kind}/{run.student}-{seed}") for kind in ("distill", "control"))
    assert distilled["steps"] == controlled["steps"]


def test_an_ablation_leaves_the_unlabelled_samples_out(run: Run, tmp_path: Path) -> None:
    if not run.params.unlabelled_signals:
        pytest.skip("its control learns from unlabelled samples, too")
    if run.task.name == "detect":
        pytest.skip("its teacher of a few steps finds no labelled box; see stages/test_ablation.py")
    root, seed = run.copy(tmp_path / "project", *PRODUCED), run.params.seeds[0]
    ablation.run(root, run.student, "labelled", str(seed))
    metrics = read_json(root / layout.METRICS / f"ablation/{run.student}-labelled-{seed}.json")
    assert metrics["images"] == run.task.dataset(run.root / layout.DATA).size("train")
    assert metrics["images"] < run.metrics(f"distill/{run.student}-{seed}")["images"]
    assert metrics["steps"] == run.params.distill.steps


def test_pruning_makes_it_smaller(run: Run) -> None:
    seed = run.params.seeds[0]
    wide = read_card(run.root / layout.checkpoint(run.student, "distilled", seed))
    pruned = read_card(run.root / layout.checkpoint(run.student, "pruned"))
    assert pruned["parameters"] < wide["parameters"]


def test_candidates_are_described(run: Run) -> None:
    for candidate in run.candidates:
        card = read_card(run.root / candidate.folder)
        assert card["task"] == run.params.task
        assert card["candidate"] == candidate.name
        assert card["digest"] == layout.artifact_digest(run.root / candidate.folder)
        assert card["arithmetic"].startswith("int" if candidate.precision == "int8" else "float")
        assert card["size_bytes"] > 0
        assert (run.root / candidate.folder / "example.py").exists()


def test_evaluations_are_complete(run: Run) -> None:
    test = run.task.dataset(run.root / layout.DATA).digest("test")
    for subject in run.subjects:
        found = run.metrics(f"evaluate/{subject}")
        assert found["present"]
        assert found["data"] == test
        assert 0 <= found[run.params.HEADLINE] <= 1
        assert found["images"] > 0
        own = paired_bootstrap.headline(run.task.resample, run.evaluation(subject))
        assert own.value == pytest.approx(found[run.params.HEADLINE], abs=1e-6)
        assert own.low <= own.value <= own.high
        for name in run.params.BY_CLASS:
            assert set(found[name]) <= set(run.task.dataset(run.root / layout.DATA).classes)


def test_exports_compute_what_their_checkpoint_does(run: Run) -> None:
    source = run.root / layout.checkpoint(run.student, "pruned")
    for candidate in run.candidates:
        if candidate.precision == "fp32":
            parity, folder = run.metrics(f"evaluate/{candidate.name}")["parity"], run.root / candidate.folder
            assert parity["samples"] > 0
            # None where so small a detector finds nothing; that must not hide what it computes.
            assert parity["agreement"] is None if run.params.task in BARELY_TRAINED else parity["agreement"] >= 0.99
            noise = run.task.noise(read_card(folder))
            outputs = open_program(run.task, folder, 1)(*noise), run.task.program(source, 1)(*noise)
            for artifact, checkpoint in zip(*outputs, strict=True):
                assert artifact.shape == checkpoint.shape
                if run.params.task in BARELY_TRAINED:
                    # Detections of nearly the same score come in any order, and which of them are kept last may differ.
                    assert rows_of_both(artifact[0], checkpoint[0]) > 0.95
                else:
                    assert np.isclose(artifact, checkpoint, rtol=1e-2, atol=1e-3).mean() > 0.9999


def rows_of_both(one: np.ndarray, other: np.ndarray) -> float:
    """The share of rows of `one` (rows × …) that `other` has too, anywhere."""
    one, other = one.reshape(len(one), -1), other.reshape(len(other), -1)
    return float(np.isclose(one[:, None], other[None], rtol=1e-2, atol=1e-3).all(2).any(1).mean())


def test_a_champion_that_is_not_there_is_said_to_be_absent(run: Run) -> None:
    for runtime in run.params.runtimes:
        assert run.metrics(f"evaluate/champion-{runtime}")["present"] is False


def test_differences_are_paired(run: Run) -> None:
    first, second = f"teacher-{run.params.teachers[0]}", f"{run.student}-pruned"
    folders = {name: run.evaluation(name) for name in (first, second)}
    found = paired_bootstrap.intervals(run.task.resample, folders, [(first, second), (second, first), (first, first)])
    one, other = found[first, second], found[second, first]
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert found[first, first][:3] == (0, 0, 0)
    gain = paired_bootstrap.gain(run.task.resample, [folders[first]], [folders[second]])
    assert gain.value == pytest.approx(one.value)
    assert gain.seeds == 1


def test_int8_reports_what_its_budget_costs(run: Run) -> None:
    headline = run.params.HEADLINE
    for candidate in run.candidates:
        if candidate.precision == "int8":
            figures = run.metrics(f"export/{candidate.name}")
            fp32, int8 = figures[f"fp32_{headline}"], figures[f"int8_{headline}"]
            assert figures["drop"] == pytest.approx(fp32 - int8)
            assert figures["max_drop"] == run.params.quantize.max_drop < 1
            assert figures["within_budget"] == (int8 >= fp32 - figures["max_drop"])
            assert figures["within_budget"]
            assert figures["tried"][figures["method"]] == int8 == max(figures["tried"].values())


def test_an_artifact_runs(run: Run) -> None:
    folder = run.root / run.candidates[0].folder
    assert benchmark.runner(run.task, folder, threads=1)() is not None
    takes, gives = run.task.tensors(read_card(folder))
    inputs = [np.ones([1 if size == -1 else size for size in shape], kind) for kind, shape in takes]
    output = run.task.predictor(folder, threads=1)(*inputs)
    ((kind, shape),) = gives
    assert output.dtype == kind
    assert [size for size, declared in zip(output.shape, shape, strict=True) if declared != -1] == [
        declared for declared in shape if declared != -1
    ]


def test_a_changed_artifact_is_refused(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.root / run.candidates[0].folder, copy)
    card = read_card(copy)
    content = (copy / card["file"]).read_bytes()
    (copy / card["file"]).unlink()
    (copy / card["file"]).write_bytes(content + b"x")
    with pytest.raises(IntegrityError, match=card["file"]):
        open_program(run.task, copy, threads=1)
    with pytest.raises(IntegrityError, match=card["file"]):
        run.task.predictor(copy, threads=1)


def test_evaluating_again_gives_the_same(run: Run, tmp_path: Path) -> None:
    for subject in (f"{run.student}-pruned", run.candidates[0].name):
        again = tmp_path / subject
        again.mkdir()
        metrics = evaluate.evaluate(run.root, run.task, run.params, subject, again)
        assert metrics == run.metrics(f"evaluate/{subject}")
        files = sorted(again.iterdir())
        assert [path.name for path in files] == sorted(path.name for path in run.evaluation(subject).iterdir())
        for path in files:
            assert sha256(path) == sha256(run.evaluation(subject) / path.name)


def test_a_champion_of_the_same_classes_is_measured_as_its_candidate(run: Run, tmp_path: Path) -> None:
    root = run.copy(tmp_path / "project", *PRODUCED, "inputs")
    candidate = run.candidates[0]
    shutil.copytree(run.root / candidate.folder, root / layout.champion(candidate.runtime), dirs_exist_ok=True)
    evaluate.run(root, f"champion-{candidate.runtime}")
    champion = read_json(root / layout.evaluation_metrics(f"champion-{candidate.runtime}"))
    own = run.metrics(f"evaluate/{candidate.name}")
    assert champion["present"]
    for name in (*run.task.measures, *run.params.BY_CLASS, "candidate", "digest", "data", "images"):
        assert champion.get(name) == own.get(name)
    folders = {
        "champion": root / layout.evaluation(f"champion-{candidate.runtime}"),
        "own": run.evaluation(own["subject"]),
    }
    pairs = paired_bootstrap.intervals(run.task.resample, folders, [("champion", "own")])
    assert pairs["champion", "own"][:3] == (0, 0, 0)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_case_of_an_unlike_champion(name: str) -> None:
    assert small_projects.TASKS[name]().champions


@pytest.mark.parametrize("case", ["one_class_more", "another_vocabulary"])
def test_an_unlike_champion_is_measured_on_todays_data(run: Run, tmp_path: Path, case: str) -> None:
    if case not in run.small.champions:
        pytest.skip(f"{run.params.task} has no case {case}")
    root = run.copy(tmp_path / "project", *PRODUCED, "data", "inputs")
    candidate, pruned = run.candidates[0], f"{run.student}-pruned"
    champion = f"champion-{candidate.runtime}"
    shutil.copytree(run.root / candidate.folder, root / layout.champion(candidate.runtime), dirs_exist_ok=True)
    run.small.champions[case](root, root / layout.champion(candidate.runtime))
    validate.run(root)
    for subject in (champion, pruned):
        evaluate.run(root, subject)
    metrics = read_json(root / layout.evaluation_metrics(champion))
    assert metrics["present"]
    assert 0 <= metrics[run.params.HEADLINE] <= 1
    if case == "one_class_more":
        added = set(run.task.dataset(root / layout.DATA).classes) - set(
            read_card(run.root / candidate.folder)["classes"]
        )
        assert len(added) == 1
        for name in run.params.BY_CLASS:
            assert {metrics[name].get(label) or 0 for label in added} == {0}
    folders = {name: root / layout.evaluation(name) for name in (champion, pruned)}
    interval = paired_bootstrap.intervals(run.task.resample, folders, [(champion, pruned)])[champion, pruned]
    assert interval.low <= interval.value <= interval.high


def test_equal_seeds_give_an_equal_student(run: Run, tmp_path: Path) -> None:
    root, seed = run.copy(tmp_path / "project", "models", "metrics"), run.params.seeds[0]
    folder = layout.checkpoint(run.student, "distilled", seed)
    shutil.rmtree(root / folder)
    distill.run(root, run.student, str(seed))
    assert read_card(root / folder)["sha256"] == read_card(run.root / folder)["sha256"]


def test_a_damaged_cache_is_refused(run: Run, tmp_path: Path) -> None:
    root = run.copy(tmp_path / "project", "models", "metrics", "soft_labels")
    shard = root / layout.shard(0) / "soft_labels.arrow"
    content = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(content[:-8])
    with pytest.raises(IntegrityError, match=r"soft_labels\.arrow"):
        distill.run(root, run.student, str(run.params.seeds[0]))


def test_the_cache_can_be_looked_at(run: Run, tmp_path: Path) -> None:
    with Console(file=(tmp_path / "said.txt").open("w"), width=160) as console:
        run.task.inspect(run.root, tmp_path / "page.html", console)
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page.replace("http://www.w3.org", "")
    (card,) = (run.root / layout.TEACHERS).glob("*/card.json")
    value = read_json(card)[f"val_{run.params.HEADLINE}"]
    reached = f"{run.task.measures[run.params.HEADLINE].label} {points(value)} on val"
    for text in (page, (tmp_path / "said.txt").read_text()):
        assert reached in " ".join(text.split())
    with pytest.raises(DataError, match="nosuch"):
        run.task.inspect_sample(run.root, "train/nosuch", Console(file=open(os.devnull, "w")))  # noqa: PTH123, SIM115


def test_the_leaderboard_and_the_page_hold_every_subject(run: Run) -> None:
    board = leaderboard.load(run.root / layout.REPORT / "leaderboard.json")
    assert board["headline"] == run.params.HEADLINE
    rows = {row["subject"]: row for row in board["rows"]}
    page = (run.root / layout.REPORT / "report.html").read_text()
    for subject in run.subjects:
        assert rows[subject]["metrics"][run.params.HEADLINE] is not None
        assert subject in page
    for candidate in run.candidates:
        assert rows[candidate.name]["latency_p50_ms"] > 0
    assert board["best"]
    advantage = board["teacher_advantage"][run.student][board["teacher"]]
    control, teacher = (
        rows[name]["metrics"][run.params.HEADLINE]
        for name in (f"{run.student}-control-{run.params.seeds[0]}", board["teacher"])
    )
    assert advantage is not None and control is not None and teacher is not None
    if len(run.params.seeds) == 1:
        assert advantage["value"] == pytest.approx(teacher - control)
    assert run.task.measures[run.params.HEADLINE].label in page


def test_gates_judge_its_candidates(run: Run) -> None:
    board = leaderboard.load(run.root / layout.REPORT / "leaderboard.json")
    for judged in gates.judge_all(board, gates.configured(run.params)):
        assert not {check.reason for check in judged.checks} & {"missing_metric", "not_evaluated", "missing_interval"}


def test_the_graph_knows_no_task(run: Run, tmp_path: Path) -> None:
    stages = graph.read(run.root).stages
    assert {name.split("@")[0] for name in stages} == STAGES
    root, other = tmp_path / "project", next(name for name in TASKS if name != run.params.task)
    root.mkdir()
    for name in (".git", ".dvc"):
        shutil.copytree(run.root / name, root / name)
    for name in ("dvc.yaml", "versions.yaml"):
        shutil.copyfile(run.root / name, root / name)
    own, content = (yaml.safe_load(path.read_text()) for path in (run.root / "params.yaml", template_for(other)))
    names = {key: own[key] for key in ("seeds", "students", "runtimes", "int8", "teachers")}
    content |= {
        **names,
        "task": other,
        "soft_labels": {**content["soft_labels"], "shards": own["soft_labels"]["shards"]},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    assert expansion.expand(root).stages == stages


def test_broken_data_stops_every_later_stage(run: Run, tmp_path: Path) -> None:
    root = run.copy(tmp_path / "project", *PRODUCED)
    verdict = root / validate.VERDICT
    content = read_json(verdict)
    verdict.unlink()
    write_json(verdict, {**content, "success": False, "failures": ["test holds no samples"]})
    with pytest.raises(DataError, match="test holds no samples"):
        evaluate.run(root, f"{run.student}-pruned")
