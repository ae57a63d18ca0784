"""The verb `drift`: compare the newest production images with the data that the champion was trained on.

A verdict is stored in `home` under a key of its inputs: a check every hour computes nothing while nothing new arrived.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alambique import config, tasks
from alambique.config import Params
from alambique.config.deployment import Deployment
from alambique.data.arrivals import Pair
from alambique.data.store import Item, Store, open_store
from alambique.drift import comparisons, label_selection, page, performance, production_batch, reference, verdict
from alambique.drift.features import Batch
from alambique.drift.production_batch import Fetched
from alambique.drift.reference import Champion
from alambique.errors import ConfigurationError
from alambique.files import fresh_folder, read_json, write_json, write_text
from alambique.messages import Drift, DriftRequest, Ingested
from alambique.pipeline import dvc_repository
from alambique.report.terminal import WIDTH

NO_VERDICT = {
    "no_champion": "There is no champion yet to compare with: run the distill DAG, and promote a challenger",
    "too_few": "{n} readable images are too few for a verdict; `drift.min_images` of params.yaml says how many do",
}


def drift(request: DriftRequest) -> Drift:
    """Compare the newest production images with the reference; if they drifted they join the dataset without labels.

    Raises:
        ConfigurationError: `production` is not set, or there is no such place, or access is refused.
        IntegrityError: the DVC remote lacks data of the champion's run.
        TransientError: a service is out of reach.
    """
    message, _ = compare_newest(request)
    return message


def compare_newest(request: DriftRequest) -> tuple[Drift, Path | None]:
    """`drift`, and the folder of the verdict's files; None without a verdict."""
    deployment = request.deployment
    store = open_store(_production_url(deployment))
    with dvc_repository.cloned(deployment, deployment.branch, "drift") as project:
        params = config.load(project)
        tasks.require(params.task, "drift")
        if (entry := reference.present(params, deployment.origin)) is None:
            return Drift(verdict="no_champion", n=0), None
        pairs = production_batch.newest(store.items(), params.drift.window)
        name = verdict.identity(entry, store.url, pairs, params)
        folder = deployment.home.absolute() / "drift" / name
        if not (folder / verdict.RESULT).exists():
            if len(pairs) < params.drift.min_images:
                return Drift(verdict="too_few", n=len(pairs)), None
            champion = reference.check_out(project, entry)
            fetched = production_batch.fetch(store, pairs, project.parent / "batch", champion.classes)
            if len(fetched.staged) < params.drift.min_images:
                return Drift(verdict="too_few", n=len(fetched.staged)), None
            _judge(name, folder, champion, fetched, deployment, params)
    result = read_json(folder / verdict.RESULT)
    joined = _join(deployment, store, pairs, result, request.by)
    report = verdict.log_to_mlflow(deployment.tracking_uri, result, folder) or str(folder / verdict.PAGE)
    message = Drift(
        verdict=result["verdict"],
        n=result["batch"]["images"],
        signals=result["drifted"],
        report=report,
        ingested=joined,
    )
    return message, folder


def _production_url(deployment: Deployment) -> str:
    if deployment.production is None:
        raise ConfigurationError("`production` of alambique.yaml is empty; name an s3://bucket/prefix or a folder")
    return deployment.production


def _judge(
    name: str, folder: Path, champion: Champion, fetched: Fetched, deployment: Deployment, params: Params
) -> None:
    """Compare the batch with the reference, and write verdict, page and list of images into the new folder `folder`."""
    task = tasks.load(params.task)
    training, production = reference.load(champion, deployment, task, params)
    network_features = task.drift_features(champion.project / champion.checkpoint, fetched.images, params)
    batch = Batch(fetched.statistics, network_features)
    signals = comparisons.compare(training, batch, params.drift.false_alarms)
    familiar = production is not None and not any(
        signal.drifted for signal in comparisons.compare(production, batch, params.drift.false_alarms)
    )
    measured = performance.measure(champion, fetched, champion.project.parent, task, params)
    result = verdict.content(name, champion, training, fetched, signals, familiar, measured, params)
    # Without a reference the batch is its own: all distances are 0, and the uncertainty alone decides.
    embeddings = (training.network_features or network_features).embeddings
    distances = label_selection.mean_distances(embeddings, network_features.embeddings)
    choices = label_selection.worth_labelling(embeddings, network_features.embeddings, network_features.uncertainty)
    with fresh_folder(folder) as target:
        if result["verdict"] == "drift":
            verdict.write_list(target / verdict.TO_LABEL, choices, fetched)
        write_text(target / verdict.PAGE, page.render(result, training, batch, fetched, distances, choices))
        write_json(target / verdict.RESULT, result)


def _join(deployment: Deployment, store: Store, pairs: list[Pair], result: dict[str, Any], by: str) -> Ingested | None:
    if result["verdict"] != "drift":
        return None
    from alambique.runs.ingest import join_unlabelled

    items: list[Item] = [pair.image for pair in pairs if pair.image]
    return join_unlabelled(deployment, store, items, by)


def run(project: Path, console: Console | None = None) -> None:
    """Compare the newest production images, and print the verdict; raises as `detect_drift.drift`."""
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH  # a pipe has no width of its own
    message, folder = compare_newest(DriftRequest(deployment=Deployment.load(project), by=getpass.getuser()))
    if folder is None:
        console.print(NO_VERDICT[message.verdict].format(n=message.n), highlight=False)
        return
    result = read_json(folder / verdict.RESULT)
    console.print(table(result))
    console.print(escape(verdict.sentence(result)), highlight=False)
    if joined := message.ingested:
        count = sum(joined.added.values())
        console.print(f"{count} of them joined the dataset without labels", highlight=False)
        console.print(f"Images to label first: {folder / verdict.TO_LABEL}", highlight=False, soft_wrap=True)
    console.print(f"Report: {message.report}", highlight=False, soft_wrap=True)


def table(result: dict[str, Any]) -> Table:
    """One line for each signal in `result`, the content of drift.json."""
    lines = Table(title=result["project"], title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("signal", "of", "test"):
        lines.add_column(column, no_wrap=True)
    for column in ("statistic", "p", "adjusted", "effect"):
        lines.add_column(column, justify="right", no_wrap=True)
    lines.add_column("verdict", no_wrap=True)
    for signal in result["signals"]:
        effect = "" if signal["effect"] is None else f"{signal['measure']} {signal['effect']:.3g}"
        figures = (f"{signal[name]:.3g}" for name in ("statistic", "p", "adjusted"))
        drifted = "[red]drifted[/]" if signal["drifted"] else ""
        lines.add_row(signal["name"], signal["source"], signal["test"], *figures, effect, drifted)
    return lines
