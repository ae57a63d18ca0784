"""`alambique init`: a complete project around a dataset, under git and DVC; on failure nothing is left."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from alambique import config, tasks
from alambique.config import Params, read_yaml
from alambique.config.section import TEACHER
from alambique.data import summary
from alambique.data.deduplicate import drop_copies
from alambique.data.expectations import failures, judge
from alambique.errors import ConfigurationError, DataError
from alambique.files import fresh_folder, write_text
from alambique.git import git
from alambique.layout import DATA
from alambique.pipeline import dvc_repository, expansion, transfer
from alambique.runs import initial_params, places, resolve_inputs, versions
from alambique.runs.snapshot import prepare

BRANCH = "main"
TEMPLATES = {
    "classify": "images/classify.yaml",
    "text": "transformers/text.yaml",
    "text_classify": "transformers/text_classify.yaml",
    **dict.fromkeys(("segment", "pose", "obb"), "yolo/heads.yaml"),
}
"""The params.yaml of each task inside tasks/; detect has this repository's own."""
LOCAL = Path(".alambique")
"""Local files of a project: DVC cache, workspaces, MLflow's database, and the default remotes."""

log = logging.getLogger(__name__)

IGNORED = (
    f"/{LOCAL}/",
    f"/{DATA}",
    *(f"/{folder}" for folder in resolve_inputs.FOLDERS),
    *("/candidates", "/evaluations", "/metrics", "/models", "/report", "/search", "/soft_labels", "/validation"),
    "__pycache__/",
)


def init(
    target: Path,
    data: str,
    task: str,
    *,
    weights: str | None = None,
    overrides: Path | None,
    origin: str | None,
    remote: str | None,
    deduplicate: bool = False,
) -> list[str]:
    """Create a project in the new folder `target`: pipeline, parameters, DAGs and data, committed and pushed.

    Args:
        data: the dataset, as the task takes it: see `Task.import_dataset`.
        task: name of the task; see `alambique tasks`.
        weights: URI of pretrained weights, from which the first teacher is fine-tuned; its network and the students'
            are then such that students can start from it. An ONNX graph is the teacher as it is.
        overrides: YAML merged over the default params.yaml; relative weights in it are relative to its folder.
        origin: git URL of an empty repository; None: a bare one in the project's .alambique/.
        remote: URL of a DVC remote; None: a folder in the project's .alambique/.
        deduplicate: keep one copy of samples that are in several splits; see `data.deduplicate`.
    Returns:
        lines that say where teachers and students start, and which lengths the dataset has changed.
    Raises:
        ConfigurationError: `target` or `origin` is not empty, a URL holds credentials, or the parameters are invalid.
        DataError: the dataset or the weights are broken; the message says where.
    """
    target = target.absolute()
    places.require_folder(target)
    origin, remote, tracking = places.origin(origin), places.remote(remote), places.tracking_uri()
    with fresh_folder(target) as folder:
        changes = _absolute(read_yaml(overrides) or {}, overrides.parent) if overrides else {}
        changes = {"project": project_name(target.name), "task": task, **changes}
        before = _lay_out(folder, changes)
        _import(data, folder / DATA, before, deduplicate)
        lines = list(initial_params.notes(before, _decide(folder, before, weights, changes, tracking)))
        _deploy(folder, target, origin, tracking)
        _version(folder, target, origin, remote, tracking)
    return lines


def _decide(folder: Path, params: Params, weights: str | None, given: dict[str, Any], tracking: str | None) -> Params:
    """Complete the params.yaml in `folder` by the dataset and the pretrained weights; what is `given` stays."""
    task = tasks.load(params.task)
    changes = initial_params.ceilings(params, task.dataset(folder / DATA))
    if weights is not None:
        path = Path(weights).expanduser()
        uri = str(path.resolve()) if path.exists() else weights  # a scheduled run has no working folder
        _merge(changes, initial_params.from_weights(task, uri, params, given, tracking))
    _merge(changes, given)
    write_params(folder / "params.yaml", changes)
    return config.load(folder)


def template_dir() -> Path:
    """Folder of a new project's files: inside the installed package, or the root of a source checkout."""
    packaged = Path(__file__).parents[1] / "template"
    return packaged if packaged.is_dir() else Path(__file__).parents[3]


def template_for(task: str) -> Path:
    """The params.yaml of a new project of this task; for detection it is the repository's own."""
    if task not in config.TASKS:
        raise ConfigurationError(f"--task: there is no task {task!r}; the tasks are {', '.join(config.TASKS)}")
    return Path(tasks.__file__).parent / TEMPLATES[task] if task in TEMPLATES else template_dir() / "params.yaml"


def project_name(folder: str) -> str:
    """`folder` as a name that models, tasks and files may carry."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    return name if name[:1].isalpha() else f"project_{name}".rstrip("_")


def _lay_out(folder: Path, changes: dict[str, Any]) -> Params:
    template = template_dir()
    shutil.copyfile(template / "dvc.yaml", folder / "dvc.yaml")
    shutil.copytree(template / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    write_text(folder / ".gitignore", "\n".join(IGNORED) + "\n")
    # Workspaces hold copies of dvc.yaml, which must not become part of this project.
    write_text(folder / ".dvcignore", (template / ".dvcignore").read_text() + f"/{LOCAL}/\n")
    write_params(folder / "params.yaml", changes)
    params = config.load(folder)
    versions.write(folder)
    return params


def explain(data: str, task: str, overrides: Path | None, deduplicate: bool) -> None:
    """Log what `init` does about the dataset, which is read in a temporary folder; nothing is kept.

    Raises:
        DataError: as `init`.
    """
    with temporary_project(task, read_yaml(overrides) or {} if overrides else {}) as (folder, params):
        _import(data, folder / DATA, params, deduplicate)


@contextmanager
def temporary_project(task: str, changes: Mapping[str, Any] | None = None) -> Iterator[tuple[Path, Params]]:
    """A folder that holds the params.yaml of a new project and nothing else, and what that says; gone after the block.

    Args:
        changes: over the task's defaults.
    """
    with tempfile.TemporaryDirectory(prefix="alambique-") as temporary:
        folder = Path(temporary)
        write_params(folder / "params.yaml", {"project": "explained", "task": task, **(changes or {})})
        yield folder, config.load(folder)


def _import(data: str, target: Path, params: Params, deduplicate: bool) -> None:
    """Copy the dataset `data` to `target`, say in the log what it holds, and check it by its contract."""
    task = tasks.load(params.task)
    task.import_dataset(data, target, params)
    facts = task.facts(target, params)
    if deduplicate and (lines := drop_copies(target, facts.tables)):
        log.info("%s", "\n".join(lines))
        facts = task.facts(target, params)
    log.info("%s", "\n".join(summary.lines(facts.tables)))
    if broken_rules := failures(judge(facts.tables, facts.contract)):
        if any("is in two splits" in rule for rule in broken_rules):
            broken_rules.append("`init --deduplicate` keeps one copy: test's before val's before train's")
        raise DataError("\n- ".join([f"{data} is a dataset that breaks its contract:", *broken_rules]))


def _absolute(overrides: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths of weights absolute: a scheduled run has no working folder."""
    for owners in (overrides.get("teacher") or {}, overrides.get("networks") or {}):
        for owner in owners.values():
            weights = (owner or {}).get("weights")
            if weights and weights != TEACHER and (path := folder / Path(weights).expanduser()).exists():
                owner["weights"] = str(path.resolve())
    return overrides


def write_params(path: Path, overrides: dict[str, Any]) -> None:
    """Merge `overrides` over the template's params.yaml, and keep its comments."""
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 120
    editor.indent(mapping=2, sequence=4, offset=2)
    editor.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = editor.load(template_for(overrides["task"]))
    _merge(content, initial_params.from_scratch(overrides, content))
    _merge(content, overrides)
    with path.open("w") as file:
        editor.dump(content, file)


def _merge(content: Any, overrides: dict[str, Any]) -> None:
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value


def _deploy(folder: Path, target: Path, origin: str | None, tracking: str | None) -> None:
    local = target / LOCAL
    content = {
        "origin": origin or str(local / "origin.git"),
        "branch": BRANCH,
        "home": str(local),
        # With another origin the folder may not exist: runs use the committed dataset unless ALAMBIQUE_DATA is set.
        "data": None if origin else str(target / DATA),
        "tracking_uri": tracking or f"sqlite:///{local}/mlflow.db",
        # s3://bucket/prefix or a folder: where new data and production images appear, and champions are published.
        **dict.fromkeys(("arrivals", "production", "releases")),
    }
    comment = "# Where this project runs. An environment variable ALAMBIQUE_<FIELD> overrides a field.\n"
    write_text(folder / "alambique.yaml", comment + yaml.safe_dump(content, sort_keys=False))


def _version(folder: Path, target: Path, origin: str | None, remote: str | None, tracking: str | None) -> None:
    """Put the project under git and DVC, and push.

    Origin and remote are recorded by their final URLs, and used where they are before `folder` is renamed to `target`.
    """
    git("init", "--quiet", "--initial-branch", BRANCH, cwd=folder)
    _init_dvc(folder, remote or str(target / LOCAL / "remote"))
    local = {"cache": {"dir": "../.alambique/cache"}}  # one cache for `dvc repro` here and the runs of Airflow
    here = {} if remote else {dvc_repository.REMOTE: {"url": "../.alambique/remote"}}
    dvc_repository.write_config(folder / ".dvc" / "config.local", {**local, **here})
    prepare(folder, None, tracking)
    initial_params.require_loadable(folder, config.load(folder))
    expansion.write(folder)
    transfer.push(folder, (str(DATA), *resolve_inputs.FOLDERS))
    dvc_repository.write_config(folder / ".dvc" / "config.local", local)
    git("add", "--all", cwd=folder)
    git("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "Begin with Alambique", cwd=folder)
    if origin is None:
        git("init", "--quiet", "--bare", "--initial-branch", BRANCH, str(folder / LOCAL / "origin.git"))
    git("remote", "add", "--", "origin", origin or str(folder / LOCAL / "origin.git"), cwd=folder)
    git("push", "--quiet", "--set-upstream", "origin", BRANCH, cwd=folder)
    git("remote", "set-url", "--", "origin", origin or str(target / LOCAL / "origin.git"), cwd=folder)


def _init_dvc(folder: Path, remote: str) -> None:
    from dvc.repo import Repo
    from dvc.repo.init import logger

    logger.setLevel("WARNING")  # it advises to commit, which `_version` does
    Repo.init(str(folder)).close()
    core = {"analytics": "False", "check_update": "False", "remote": "storage"}
    dvc_repository.write_config(folder / ".dvc" / "config", {"core": core, dvc_repository.REMOTE: {"url": remote}})
