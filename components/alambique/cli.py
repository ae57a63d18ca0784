"""The command line: what people type, what dvc.yaml runs, and the verbs that Airflow's side calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from alambique.errors import AlambiqueError, write_error

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
graph = typer.Typer(no_args_is_help=True, help="The committed, expanded graph of dvc.yaml.")
app.add_typer(graph, name="graph")
softlabels = typer.Typer(no_args_is_help=True, help="The cache of the teachers' soft labels.")
app.add_typer(softlabels, name="softlabels")


InProject = Annotated[Path, typer.Option(help="The project's folder.")]
Request = Annotated[Path | None, typer.Option(hidden=True)]
"""Of the verbs that Airflow's side calls: JSON files, see `alambique.verbs`."""
Result = Request


@app.callback()
def main() -> None:
    """Distill, compress and promote edge-ready students from a DVC-versioned dataset."""


def _guarded(work: Callable[[], Any]) -> Any:
    """Turn errors raised on purpose into one line and their exit code; leave every error for the waiting parent."""
    try:
        return work()
    except AlambiqueError as error:
        write_error(error)
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        raise typer.Exit(error.exit_code) from None
    except Exception as error:
        write_error(error)
        raise


def _answer(verb: str, request: Path | None, result: Path | None, by_hand: Callable[[], Any]) -> None:
    """Do a verb as Airflow's side asks for it, or else what a person at a terminal wants; print what that returns."""
    if request and result:
        from alambique.verbs import call

        _guarded(lambda: call(verb, request, result))
    elif told := _guarded(by_hand):
        typer.echo(told)


@app.command()
def init(
    target: Annotated[Path, typer.Argument(help="The project's folder, which must not exist yet.")],
    data: Annotated[str, typer.Option(help="The dataset: its folder or data.yaml, or an Ultralytics name.")],
    task: Annotated[str, typer.Option(help="What the models do; see `alambique tasks`.")] = "detect",
    params: Annotated[Path | None, typer.Option(help="YAML merged over the default params.yaml.")] = None,
    origin: Annotated[str | None, typer.Option(help="Git URL; default: a bare repository inside the project.")] = None,
    remote: Annotated[str | None, typer.Option(help="DVC remote URL; default: a folder inside the project.")] = None,
) -> None:
    """Lay out a project around a dataset: pipeline, parameters, DAGs, version control."""
    from alambique.runs.new_project import init as work

    _guarded(lambda: work(target, data, task, overrides=params, origin=origin, remote=remote))
    typer.echo(f"{target} is ready. Next:\n  cd {target}")
    typer.echo("  dvc repro       # the whole pipeline, here")
    typer.echo("  alambique up    # the same on a schedule: Airflow and MLflow on this machine")


@app.command()
def demo(
    target: Annotated[Path, typer.Argument(help="Where the demo's project lives.")] = Path(".demo"),
    task: Annotated[str, typer.Option(help="What its students do; see `alambique tasks`.")] = "detect",
) -> None:
    """Take an embedded dataset through the real DAG, to a promoted student."""
    from alambique.demo.run import demo as work

    _guarded(lambda: work(target, task))


@app.command()
def up(project: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Serve Airflow, MLflow and S3 for a project on this machine's loopback, until Ctrl-C."""
    from alambique.local.services import up as work

    _guarded(lambda: work(project))


@app.command()
def results(project: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Bring the newest recorded run into the project's folder: leaderboard, gates, champions, report."""
    from rich.console import Console

    from alambique.runs.results import fetch, show

    _guarded(lambda: fetch(project))
    _guarded(lambda: show(project, Console()))


@app.command()
def gate(
    explain: Annotated[
        bool, typer.Option("--explain", help="Print each candidate's verdicts, and exit with 0.")
    ] = False,
    project: Annotated[Path, typer.Option(help="The project's folder, with --explain.")] = Path(),
    request: Request = None,
    result: Result = None,
) -> None:
    """Judge the candidates of report/leaderboard.json by the gates of params.yaml."""

    def by_hand() -> None:
        if not explain:
            raise typer.BadParameter("give --explain; what is registered is judged by the distill DAG")
        from alambique.report.checks import explain as work

        work(project)

    _answer("gate", request, result, by_hand)


@app.command()
def ingest(
    project: InProject = Path(),
    request: Request = None,
    result: Result = None,
) -> None:
    """Merge what is new at `arrivals` of alambique.yaml into the dataset: validated, versioned, committed, pushed."""

    def by_hand() -> str:
        from alambique.runs.ingest import run

        return run(project)

    _answer("ingest", request, result, by_hand)


@app.command()
def rollback(
    model: Annotated[str | None, typer.Argument(help="The registered model, such as cells-onnx.")] = None,
    project: Annotated[Path, typer.Option(help="The project's folder.")] = Path(),
    by: Annotated[str | None, typer.Option(help="Who decides; default: git's user.name, or the login name.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the ledger and MLflow.")] = "",
    request: Request = None,
    result: Result = None,
) -> None:
    """Make a model's previous champion its champion again, and publish it where `releases` is set."""

    def by_hand() -> str:
        if model is None:
            raise typer.BadParameter("name the registered model")
        from alambique.registry.cli_actions import rollback as work

        return work(project, model, by, why)

    _answer("rollback", request, result, by_hand)


@app.command()
def publish(
    models: Annotated[list[str] | None, typer.Argument(help="Registered models; default: all of the project.")] = None,
    project: InProject = Path(),
    request: Request = None,
    result: Result = None,
) -> None:
    """Put the present champions where devices pull them from, `releases` of alambique.yaml."""

    def by_hand() -> str:
        from alambique.registry.cli_actions import publish as work

        return work(project, models or [])

    _answer("publish", request, result, by_hand)


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix/MODEL, as published.")],
    target: Annotated[Path, typer.Argument(help="The link that shall lead to the model's folder.")],
) -> None:
    """Bring a published champion to this device, whole or not at all."""
    from alambique.pull import main as work

    raise typer.Exit(work([url, str(target)]))


@app.command()
def drift(
    project: InProject = Path(),
    request: Request = None,
    result: Result = None,
) -> None:
    """Judge whether the newest images at `production` of alambique.yaml differ from those of the champion."""

    def by_hand() -> None:
        from alambique.drift.command import run
        from alambique.process.environment import prepare

        prepare()
        run(project)

    _answer("drift", request, result, by_hand)


@app.command()
def stage(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run one stage of dvc.yaml in the current folder."""
    from alambique.stages.command import run

    _guarded(lambda: run(Path.cwd(), name, *(arguments or ())))


@app.command()
def versions() -> None:
    """Write versions.yaml: the installed packages that results depend on. Commit it: a change re-runs every stage."""
    from alambique.runs.versions import write

    _guarded(lambda: write(Path.cwd()))


@graph.command("write")
def graph_write() -> None:
    """Expand dvc.yaml into pipeline.json, which the DAGs are built from."""
    from alambique.pipeline.expansion import write

    _guarded(lambda: write(Path.cwd()))


@graph.command("check")
def graph_check() -> None:
    """Refuse when pipeline.json is not what dvc.yaml expands to."""
    from alambique.pipeline.expansion import check

    _guarded(lambda: check(Path.cwd()))


@softlabels.command("inspect")
def softlabels_inspect(
    project: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    output: Annotated[Path, typer.Option(help="The page.")] = Path("soft_labels.html"),
    sample: Annotated[
        str | None, typer.Option("--sample", "--image", help="Show this sample's instead, as in train/x.png.")
    ] = None,
) -> None:
    """Show what the cache holds: how sure the teachers are, of what, and what they know beyond the labels."""
    from rich.console import Console

    from alambique import config
    from alambique import tasks as all_tasks

    def work() -> None:
        task = all_tasks.load(config.load(project).task)
        if sample:
            task.inspect_sample(project, sample, Console())
        else:
            task.inspect(project, output, Console())

    _guarded(work)


@app.command()
def chat(
    model: Annotated[Path, typer.Argument(help="Folder of an exported language model, as below candidates/.")],
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token.")] = 0.7,
    tokens: Annotated[int, typer.Option(min=1, help="Of an answer, at most.")] = 200,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="The runtime computes with.")] = 1,
) -> None:
    """Talk to an exported language model on its own runtime, or let it go on with what you type."""
    from rich.console import Console

    from alambique.process.environment import prepare

    def work() -> None:
        prepare()
        from alambique.tasks.transformers.chat import chat as talk

        talk(model, temperature=temperature, limit=tokens, seed=seed, threads=threads, console=Console())

    _guarded(work)


@app.command()
def tasks() -> None:
    """List the tasks: what each one's students do, how they are distilled, and where they run."""
    from alambique.tasks.listing import show as work

    _guarded(work)


def _add_verb(name: str) -> None:
    @app.command(name, hidden=True)
    def verb(
        request: Annotated[Path, typer.Option(help="JSON file of the request.")],
        result: Annotated[Path, typer.Option(help="Where the result's JSON goes.")],
    ) -> None:
        from alambique.verbs import call

        _guarded(lambda: call(name, request, result))


for _verb in ("snapshot", "arrivals", "run-stage", "register", "record", "unchanged", "propose", "promote"):
    _add_verb(_verb)
