"""The command line, for people: dvc.yaml calls `alambique.stage`, and Airflow's side `alambique.verbs`.

To add a command: a function here, which parses and prints, and imports what does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from alambique.errors import ConfigurationError
from alambique.process.environment import configure_logging, errors_exit, prepare


class ErrorsExit(TyperGroup):
    """Ends a command that fails on purpose as `errors_exit` says."""

    def invoke(self, ctx: Any) -> Any:
        with errors_exit():
            return super().invoke(ctx)


app = typer.Typer(cls=ErrorsExit, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
graph = typer.Typer(no_args_is_help=True, help="The committed, expanded graph of dvc.yaml.")
app.add_typer(graph, name="graph")
kubeflow = typer.Typer(no_args_is_help=True, help="The same pipeline for Kubeflow Pipelines.")
app.add_typer(kubeflow, name="kubeflow")
softlabels = typer.Typer(no_args_is_help=True, help="The cache of the teachers' soft labels.")
app.add_typer(softlabels, name="softlabels")


def _root() -> Path:
    """The working folder, if it is a project's root: a file written into another could become part of the dataset."""
    if not Path("dvc.yaml").is_file():
        raise ConfigurationError(f"{Path.cwd()} has no dvc.yaml; run this in the project's root")
    return Path.cwd()


InProject = Annotated[Path, typer.Option(help="The project's folder.")]


@app.callback()
def main() -> None:
    """Distill, compress and promote edge-ready students from a DVC-versioned dataset."""


@app.command()
def init(
    target: Annotated[Path, typer.Argument(help="The project's folder, which must not exist yet.")],
    data: Annotated[str, typer.Option(help="The dataset: a folder, data.yaml, annotations, or an Ultralytics name.")],
    task: Annotated[str, typer.Option(help="What the models do; see `alambique tasks`.")] = "detect",
    weights: Annotated[
        str | None,
        typer.Option(help="Weights that the teacher is fine-tuned from (yolo26n.pt), or that are it (a.onnx)."),
    ] = None,
    params: Annotated[Path | None, typer.Option(help="YAML merged over the default params.yaml.")] = None,
    origin: Annotated[str | None, typer.Option(help="Git URL; default: a bare repository inside the project.")] = None,
    remote: Annotated[str | None, typer.Option(help="DVC remote URL; default: a folder inside the project.")] = None,
    deduplicate: Annotated[bool, typer.Option("--deduplicate", help="Keep one copy across splits.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Only say what the dataset holds.")] = False,
) -> None:
    """Lay out a project around a dataset: pipeline, parameters, DAGs, version control."""
    from alambique.runs import new_project

    configure_logging()
    if explain:
        new_project.explain(data, task, params, deduplicate)
        return
    for line in new_project.init(
        target, data, task, weights=weights, overrides=params, origin=origin, remote=remote, deduplicate=deduplicate
    ):
        typer.echo(line)
    typer.echo(f"{target} is ready. Next:\n  cd {target}")
    typer.echo("  dvc repro       # the whole pipeline, here")
    typer.echo("  alambique up    # the same on a schedule: Airflow and MLflow on this machine")


@app.command()
def data(
    source: Annotated[str, typer.Argument(help="A project's folder, or a dataset as `init --data` takes it.")] = ".",
    task: Annotated[str | None, typer.Option(help="Of a dataset: what it is read for; default: detect.")] = None,
    output: Annotated[Path, typer.Option(help="The page.")] = Path("data.html"),
) -> None:
    """Show a dataset on a page: what it holds, sizes, samples with their labels, and what looks odd."""
    prepare()
    from alambique.runs import dataset_page

    dataset_page.write(source, task, output)
    typer.echo(output)


@app.command()
def demo(
    target: Annotated[Path, typer.Argument(help="Where the demo's project lives.")] = Path(".demo"),
    task: Annotated[str, typer.Option(help="What its students do; see `alambique tasks`.")] = "detect",
) -> None:
    """Take an embedded dataset through the real DAG, to a promoted student."""
    from alambique.demo.run import demo as work

    work(target, task)


@app.command()
def up(project: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Serve Airflow, MLflow and S3 for a project on this machine's loopback, until Ctrl-C."""
    from alambique.local.services import up as work

    work(project)


@app.command()
def results(project: Annotated[Path, typer.Argument(help="The project's folder.")] = Path()) -> None:
    """Bring the newest recorded run into the project's folder: leaderboard, gates, champions, report."""
    from rich.console import Console

    from alambique.runs.cli_actions import fetch, show

    fetch(project)
    show(project, Console())


@app.command()
def gate(project: InProject = Path()) -> None:
    """Judge the candidates of report/leaderboard.json by the gates of params.yaml, and print each check."""
    from alambique.report.terminal import print_gates

    print_gates(project)


@app.command()
def ingest(project: InProject = Path()) -> None:
    """Merge what is new at `arrivals` of alambique.yaml into the dataset: validated, versioned, committed, pushed."""
    from alambique.runs.ingest import run

    typer.echo(run(project))


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="The registered model, such as cells-onnx.")],
    project: InProject = Path(),
    by: Annotated[str | None, typer.Option(help="Who decides; default: git's user.name, or the login name.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the ledger and MLflow.")] = "",
) -> None:
    """Make a model's previous champion its champion again, and publish it where `releases` is set."""
    from alambique.runs import cli_actions

    typer.echo(cli_actions.rollback(project, model, by, why))


@app.command()
def publish(
    models: Annotated[list[str] | None, typer.Argument(help="Registered models; default: all of the project.")] = None,
    project: InProject = Path(),
) -> None:
    """Put the present champions where devices pull them from, `releases` of alambique.yaml."""
    from alambique.runs import cli_actions

    typer.echo(cli_actions.publish(project, models or []))


@app.command("release-key")
def release_key(path: Annotated[Path, typer.Argument(help="Where the private key goes.")]) -> None:
    """Make the key pair that signs releases."""
    from alambique.registry import signing

    public = signing.create(path)
    typer.echo(f"{path}: keep it secret, and let {signing.VARIABLE} name it where champions are published")
    typer.echo(f"{public}: copy it to each device as TARGET.pub, beside the TARGET of `alambique pull`")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix/MODEL, as published.")],
    target: Annotated[Path, typer.Argument(help="The link that shall lead to the model's folder.")],
) -> None:
    """Bring a published champion to this device, whole or not at all."""
    from alambique.pull import main as work

    raise typer.Exit(work([url, str(target)]))


@app.command()
def drift(project: InProject = Path()) -> None:
    """Judge whether the newest images at `production` of alambique.yaml differ from those of the champion."""
    from alambique.drift.detect_drift import run

    prepare()
    run(project)


@app.command()
def versions() -> None:
    """Write versions.yaml: the installed packages that results depend on. Commit it: a change re-runs every stage."""
    from alambique.runs.versions import write

    write(_root())


@graph.command("write")
def graph_write() -> None:
    """Expand dvc.yaml into pipeline.json, which the DAGs are built from."""
    from alambique.pipeline.expansion import write

    write(_root())


@graph.command("check")
def graph_check() -> None:
    """Refuse when pipeline.json is not what dvc.yaml expands to."""
    from alambique.pipeline.expansion import check

    check(Path.cwd())


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

    prepare()  # or Ultralytics would write its settings into the user's home
    task = all_tasks.load(config.load(project).task)
    if sample:
        task.inspect_sample(project, sample, Console())
    else:
        task.inspect(project, output, Console())


@kubeflow.command("compile")
def compile_(
    project: InProject = Path(),
    output: Annotated[Path, typer.Option(help="The specification's file.")] = Path("kubeflow.yaml"),
) -> None:
    """Write the project's pipeline as a specification of Kubeflow Pipelines, to be uploaded or run."""
    try:
        from alambique.kubeflow.compile import compile_project
    except ImportError as error:
        raise ConfigurationError(
            f'kfp cannot be imported ({error}); run `pip install "alambique[kubeflow]"` in an environment of its own'
        ) from None
    size = compile_project(project, output)
    typer.echo(f"{output} has {size / 1000:,.0f} kB. Upload it in Kubeflow's UI, or: kfp pipeline create {output}")


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

    prepare()
    from alambique.tasks.transformers.chat import chat as talk

    talk(model, temperature=temperature, limit=tokens, seed=seed, threads=threads, console=Console())


@app.command()
def tasks() -> None:
    """List the tasks: what each one's students do, how they are distilled, and where they run."""
    from alambique.tasks.listing import show

    show()
