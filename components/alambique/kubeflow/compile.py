"""`alambique kubeflow compile`: pipeline.json as a specification of Kubeflow Pipelines (IR YAML, KFP v2).

Steps are lightweight components that start `alambique` in the deployment's `pods.image`, which has to have
`alambique[ml,kubeflow]`. Kubeflow would write the code and the type of a component once for each step; here steps that
differ in nothing but their arguments share one. Kubeflow's own cache is off: a stage whose result the lock or the
remote holds is answered there, by its key.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl, kubernetes

from alambique import config
from alambique.config.deployment import Deployment
from alambique.config.resources import (
    DEFAULT,
    GIT_FOLDER,
    GPU,
    RETRIES,
    RETRY_FACTOR,
    RETRY_SECONDS,
    RETRY_SECONDS_AT_MOST,
    Pods,
    Resources,
    require_kinds,
    resources_of,
)
from alambique.errors import ConfigurationError
from alambique.files import write_text
from alambique.kubeflow import components
from alambique.kubeflow.steps import ENVIRONMENT
from alambique.pipeline import graph as pipeline
from alambique.pipeline.graph import Graph

HOME = Path("/tmp/alambique")  # noqa: S108
"""A container's own `home`, gone with it."""


def compile_project(project: Path, target: Path) -> int:
    """Write the specification of the project's pipeline to `target`; returns its size in bytes.

    Raises:
        ConfigurationError: a file of the project is missing or invalid, or alambique.yaml names no image.
        IntegrityError: pipeline.json was edited by hand.
    """
    params, deployment, graph = config.load(project), Deployment.load(project), pipeline.read(project)
    require_kinds(deployment.resources, graph.stages)
    if deployment.pods is None:
        raise ConfigurationError("alambique.yaml: pods is missing; Kubeflow's steps need `pods.image`")
    automatic = params.promotion.policy == "automatic"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(_pipeline(params.project, deployment, deployment.pods, graph, automatic), str(path))
        documents = list(yaml.safe_load_all(path.read_text()))
    share_components(*documents)
    content = yaml.safe_dump_all(documents, sort_keys=False, width=120)
    write_text(target, content)
    return len(content.encode())


def _pipeline(name: str, deployment: Deployment, pods: Pods, graph: Graph, automatic: bool) -> Any:
    """Args: automatic: whether challengers are promoted at once."""

    def component(function: Callable[..., Any]) -> Callable[..., Any]:
        made = dsl.component(function, base_image=pods.image, install_kfp_package=False)

        def step(label: str, resources: Resources, **arguments: Any) -> Any:
            task = made(**arguments)
            task.set_display_name(label)
            _give(task, pods, resources)
            return task

        return step

    here = deployment.in_container(HOME).model_dump_json()
    do_snapshot, do_stage = component(components.alambique_snapshot), component(components.alambique_stage)
    do_record, do_promote = component(components.alambique_record), component(components.alambique_promote)
    entries = deployment.resources
    default = resources_of(entries, DEFAULT)

    @dsl.pipeline(name=f"{name}-distill".replace("_", "-"), display_name=f"{name}: distill")  # type: ignore[untyped-decorator]
    def distill(deployment: str = here, approved: bool = automatic):  # type: ignore[no-untyped-def]  # kfp takes a return type for an output
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        run = do_snapshot("snapshot", default, deployment=deployment, digest=graph.digest, run_id=job).output
        results: dict[str, Any] = {}
        for stage in graph.stages:  # producers come first
            upstream = [results[producer] for producer in graph.upstream(stage)]
            resources = resources_of(entries, stage)
            task = do_stage(stage, resources, deployment=deployment, run=run, name=stage, upstream=upstream)
            results[stage] = task.outputs["Output"]
        recorded = do_record("record", default, deployment=deployment, run=run, stages=list(results.values()))
        tag = recorded.outputs["Output"]
        do_promote("promote", default, deployment=deployment, tag=tag, approved=approved)

    return distill


def _give(task: Any, pods: Pods, resources: Resources) -> None:
    task.set_caching_options(False)
    retries = RETRIES if resources.retries is None else resources.retries
    task.set_retry(retries, f"{RETRY_SECONDS}s", RETRY_FACTOR, f"{RETRY_SECONDS_AT_MOST}s")
    if resources.cpu is not None:
        task.set_cpu_request(f"{resources.cpu:g}").set_cpu_limit(f"{resources.cpu:g}")
        task.set_env_variable("OMP_NUM_THREADS", str(resources.threads))
    if resources.memory is not None:
        task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpus:
        task.set_accelerator_type(GPU).set_accelerator_limit(resources.gpus)
    if resources.timeout_hours is not None:
        kubernetes.set_timeout(task, round(resources.timeout_hours * 3600))
    for name in pods.secrets:
        kubernetes.use_secret_as_volume(task, name, str(ENVIRONMENT / name))
    for name in pods.config_maps:
        kubernetes.use_config_map_as_volume(task, name, str(ENVIRONMENT / name))
    if pods.git_secret:
        kubernetes.use_secret_as_volume(task, pods.git_secret, GIT_FOLDER)
    for key, value in pods.node_selector.items():
        kubernetes.add_node_selector(task, key, value)


def share_components(specification: dict[str, Any], platforms: dict[str, Any] | None = None) -> None:
    """Let the steps whose components are equal, the platform's settings included, share the first one's, in place."""
    shared, executors = specification["components"], specification["deploymentSpec"]["executors"]
    settings: dict[str, Any] = {}
    if platforms:
        settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    first: dict[str, str] = {}
    kept = {name: first.setdefault(_content(shared[name], executors, settings), name) for name in shared}
    for task in specification["root"]["dag"]["tasks"].values():
        task["componentRef"]["name"] = kept[task["componentRef"]["name"]]
    for name in [name for name, same in kept.items() if same != name]:
        label = shared.pop(name)["executorLabel"]
        executors.pop(label)
        settings.pop(label, None)


def _content(component: dict[str, Any], executors: dict[str, Any], settings: dict[str, Any]) -> str:
    label = component["executorLabel"]
    return json.dumps([{**component, "executorLabel": ""}, executors[label], settings.get(label)], sort_keys=True)
