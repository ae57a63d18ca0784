"""Security points that hold for all that the chart renders, each shown to find a violation."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from factories.helm import CI, Manifest, containers, find, pod_specs, render
from factories.manifest_checks import (
    RESTRICTED_VOLUMES,
    each_container,
    excess_rights,
    open_rules,
    pods,
    secrets_in_the_open,
    security,
    serviceaccount_tokens,
    unbudgeted,
    undenied,
    unprobed,
    unwritable,
    without_limits,
)


class Policy(NamedTuple):
    """`violations` of manifests, and how `broken` makes one of it, which is then found."""

    name: str
    violations: Callable[[list[Manifest]], Iterator[str]]
    broken: Callable[[list[Manifest]], object]


def server(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = find(manifests, "Deployment", "alambique-mlflow")["spec"]["template"]["spec"]
    return spec


def first(manifests: list[Manifest], kind: str) -> Manifest:
    """The first container, of the pod's start if it has one, of the only manifest of that kind."""
    (spec,) = [spec for name, _, spec in pod_specs(manifests) if name.startswith(kind)]
    return containers(spec)[0]


POLICIES = [
    Policy(
        "not root",
        pods(lambda spec: spec["securityContext"].get("runAsNonRoot") is not True),
        lambda manifests: find(manifests, "Pod", "alambique-test")["spec"]["securityContext"].pop("runAsNonRoot"),
    ),
    Policy(
        "no container as root",
        each_container(
            lambda container: (
                security(container).get("runAsUser") == 0 or security(container).get("runAsNonRoot") is False
            )
        ),
        lambda manifests: first(manifests, "Job")["securityContext"].update(runAsUser=0),
    ),
    Policy(
        "seccomp",
        pods(lambda spec: spec["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}),
        lambda manifests: server(manifests)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    ),
    Policy(
        "no privilege escalation",
        each_container(lambda container: security(container).get("allowPrivilegeEscalation") is not False),
        lambda manifests: first(manifests, "Deployment")["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    Policy(
        "not privileged",
        each_container(lambda container: security(container).get("privileged")),
        lambda manifests: first(manifests, "Job")["securityContext"].update(privileged=True),
    ),
    Policy(
        "no capabilities",
        each_container(lambda container: security(container).get("capabilities") != {"drop": ["ALL"]}),
        lambda manifests: first(manifests, "Job")["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    ),
    Policy(
        "nothing of the node",
        pods(
            lambda spec: (
                any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
                or any(port.get("hostPort") for container in containers(spec) for port in container.get("ports", []))
            )
        ),
        lambda manifests: server(manifests).update(hostNetwork=True),
    ),
    Policy(
        "only volumes that are allowed",
        pods(
            lambda spec: any(not volume.keys() - {"name"} <= RESTRICTED_VOLUMES for volume in spec.get("volumes", []))
        ),
        lambda manifests: server(manifests)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
    ),
    Policy(
        "read-only root file system",
        each_container(lambda container: security(container).get("readOnlyRootFilesystem") is not True),
        lambda manifests: first(manifests, "Pod")["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    Policy(
        "a volume where it is written",
        unwritable,
        lambda manifests: server(manifests)["containers"][0]["volumeMounts"].pop(),
    ),
    Policy(
        "bounded temporary volumes",
        pods(
            lambda spec: any(
                "sizeLimit" not in volume.get("emptyDir", {"sizeLimit": 1}) for volume in spec.get("volumes", [])
            )
        ),
        lambda manifests: server(manifests)["volumes"][-1]["emptyDir"].clear(),
    ),
    Policy(
        "no token of the API server",
        serviceaccount_tokens,
        lambda manifests: find(manifests, "ServiceAccount", "alambique-stage").update(
            automountServiceAccountToken=True
        ),
    ),
    Policy(
        "requests and limits",
        each_container(without_limits),
        lambda manifests: first(manifests, "Deployment")["resources"]["limits"].pop("memory"),
    ),
    Policy(
        "images by digest or fixed tag",
        each_container(
            lambda container: not re.search(r"(@sha256:[0-9a-f]{64}|:(?!latest)[\w.-]+)$", container["image"])
        ),
        lambda manifests: first(manifests, "Pod").update(image="registry.example.org/mlflow"),
    ),
    Policy(
        "no secret in the open",
        secrets_in_the_open,
        lambda manifests: server(manifests)["containers"][0]["args"].append(
            "--uri=postgresql://mlflow:word@host/mlflow"
        ),
    ),
    Policy(
        "no secret in a plain variable",
        secrets_in_the_open,
        lambda manifests: first(manifests, "Job")["env"].append({"name": "PGPASSWORD", "value": "word"}),
    ),
    Policy(
        "no secret in a ConfigMap",
        secrets_in_the_open,
        lambda manifests: find(manifests, "ConfigMap", "alambique-environment")["data"].update(
            AWS_SECRET_ACCESS_KEY="k"
        ),
    ),
    Policy(
        "default-deny",
        undenied,
        lambda manifests: manifests.remove(find(manifests, "NetworkPolicy", "alambique-default-deny")),
    ),
    Policy(
        "a pod that default-deny misses",
        undenied,
        lambda manifests: find(manifests, "Job", "alambique*")["spec"]["template"]["metadata"]["labels"].pop(
            "app.kubernetes.io/part-of"
        ),
    ),
    Policy(
        "narrow network rules",
        open_rules,
        lambda manifests: find(manifests, "NetworkPolicy", "alambique-mlflow")["spec"]["ingress"].append({}),
    ),
    Policy(
        "no more rights than a stage's pod needs",
        excess_rights,
        lambda manifests: find(manifests, "Role", "alambique-stage-runner")["rules"].append(
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        ),
    ),
    Policy(
        "disruption budget of replicas",
        unbudgeted,
        lambda manifests: find(manifests, "Deployment", "alambique-mlflow")["spec"].update(replicas=2),
    ),
    Policy(
        "probes",
        unprobed,
        lambda manifests: server(manifests)["containers"][0].pop("startupProbe"),
    ),
]


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    return {name: render(path) for name, path in CI.items()}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_manifest_keeps_the_policy(policy: Policy, rendered: dict[str, list[Manifest]]) -> None:
    violations = [(name, found) for name, manifests in rendered.items() for found in policy.violations(manifests)]
    assert violations == []


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_the_policy_finds_a_violation(policy: Policy, rendered: dict[str, list[Manifest]]) -> None:
    manifests = copy.deepcopy(rendered["minimal"])
    policy.broken(manifests)
    assert list(policy.violations(manifests))
