"""What makes manifests insecure: each check yields the places where it finds it."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator

import yaml

from factories.helm import Manifest, containers, pod_specs

WRITABLE = {"emptyDir", "persistentVolumeClaim"}
RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim", "csi", "ephemeral"}
SECRET_NAME = re.compile(r"(?i)passw|secret(?!Name|Key)|_key$|token")


def pods(complaint: Callable[[Manifest], object]) -> Callable[[list[Manifest]], Iterator[str]]:
    return lambda manifests: (name for name, _, spec in pod_specs(manifests) if complaint(spec))


def each_container(complaint: Callable[[Manifest], object]) -> Callable[[list[Manifest]], Iterator[str]]:
    return lambda manifests: (
        f"{name}: {container['name']}"
        for name, _, spec in pod_specs(manifests)
        for container in containers(spec)
        if complaint(container)
    )


def security(container: Manifest) -> Manifest:
    context: Manifest = container.get("securityContext", {})
    return context


def unwritable(manifests: list[Manifest]) -> Iterator[str]:
    """Paths that programs write to, where no volume is."""
    for name, _, spec in pod_specs(manifests):
        volumes = {volume["name"] for volume in spec.get("volumes", []) if WRITABLE & volume.keys()}
        for container in containers(spec):
            mounts = {mount["mountPath"] for mount in container.get("volumeMounts", []) if mount["name"] in volumes}
            home = [entry["value"] for entry in container.get("env", []) if entry["name"] == "HOME"]
            yield from (f"{name}: {container['name']}: {path}" for path in home if path not in mounts)


def secrets_in_the_open(manifests: list[Manifest]) -> Iterator[str]:
    """Values of secrets in ConfigMaps, arguments and plain variables: by their name, or the value itself."""
    values = {
        value
        for manifest in manifests
        if manifest["kind"] == "Secret"
        for key, value in decoded(manifest).items()
        if SECRET_NAME.search(key)
    }
    for manifest in manifests:
        if manifest["kind"] != "Secret":
            text = yaml.safe_dump(manifest, width=10**6)
            yield from (f"{manifest['kind']} {manifest['metadata']['name']}" for value in values if value in text)
        if manifest["kind"] == "ConfigMap":
            yield from (f"ConfigMap: {key}" for key in manifest["data"] if SECRET_NAME.search(key))
            yield from (
                f"ConfigMap: {line}"
                for text in manifest["data"].values()
                for line in text.splitlines()
                if re.search(r"://[^/@\s]*:[^/@\s]+@", line)
            )
    for name, _, spec in pod_specs(manifests):
        for container in containers(spec):
            for entry in container.get("env", []):
                if SECRET_NAME.search(entry["name"]) and "value" in entry:
                    yield f"{name}: {entry['name']}"
            for argument in [*container.get("command", []), *container.get("args", [])]:
                if re.search(r"://[^/@\s]*:[^/@\s]+@", argument):
                    yield f"{name}: {argument}"


def decoded(secret: Manifest) -> dict[str, str]:
    return {key: b64decode(value).decode() for key, value in secret["data"].items()}


def selected(policy: Manifest, labels: Manifest) -> bool:
    wanted = policy["spec"]["podSelector"].get("matchLabels", {})
    return wanted.items() <= labels.items()


def undenied(manifests: list[Manifest]) -> Iterator[str]:
    """Pods, those of stages included, for which no policy denies what others do not allow."""
    stage = {"app.kubernetes.io/part-of": "alambique", "app.kubernetes.io/component": "stage"}
    denying = [
        manifest
        for manifest in manifests
        if manifest["kind"] == "NetworkPolicy"
        and not {"ingress", "egress"} & manifest["spec"].keys()
        and sorted(manifest["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    ]
    for name, labels in [("a stage", stage), *((name, labels) for name, labels, _ in pod_specs(manifests))]:
        if not any(selected(policy, labels) for policy in denying):
            yield name


def open_rules(manifests: list[Manifest]) -> Iterator[str]:
    """Rules that let anybody in, or out to every port."""
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            spec, name = manifest["spec"], manifest["metadata"]["name"]
            for rule in spec.get("ingress", []):
                if not rule.get("from") or {} in rule["from"] or not rule.get("ports"):
                    yield f"{name}: ingress {rule}"
            for rule in spec.get("egress", []):
                if not rule.get("ports"):
                    yield f"{name}: egress {rule}"


def excess_rights(manifests: list[Manifest]) -> Iterator[str]:
    allowed = {
        "pods": {"create", "get", "list", "watch", "patch", "delete"},
        "pods/log": {"get"},
        "pods/exec": {"create", "get"},
        "events": {"get", "list", "watch"},
    }
    for manifest in manifests:
        if manifest["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield manifest["kind"]
        for rule in manifest.get("rules", []) if manifest["kind"] == "Role" else []:
            for resource in rule["resources"]:
                if rule["apiGroups"] != [""] or not set(rule["verbs"]) <= allowed.get(resource, set()):
                    yield f"{resource}: {rule['verbs']}"


def serviceaccount_tokens(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] == "ServiceAccount" and manifest["automountServiceAccountToken"] is not False:
            yield manifest["metadata"]["name"]
    for name, _, spec in pod_specs(manifests):
        if (
            spec.get("automountServiceAccountToken") is not False
            or spec.get("serviceAccountName", "default") == "default"
        ):
            yield name


def unbudgeted(manifests: list[Manifest]) -> Iterator[str]:
    budgets = [
        manifest["spec"]["selector"]["matchLabels"]
        for manifest in manifests
        if manifest["kind"] == "PodDisruptionBudget"
    ]
    scaled = {
        manifest["spec"]["scaleTargetRef"]["name"]: manifest["spec"]["minReplicas"]
        for manifest in manifests
        if manifest["kind"] == "HorizontalPodAutoscaler"
    }
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            replicas = manifest["spec"].get("replicas") or scaled[manifest["metadata"]["name"]]
            if replicas > 1 and manifest["spec"]["selector"]["matchLabels"] not in budgets:
                yield manifest["metadata"]["name"]


def unprobed(manifests: list[Manifest]) -> Iterator[str]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                missing = {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys()
                yield from (f"{manifest['metadata']['name']}: {probe}" for probe in missing)


def without_limits(container: Manifest) -> bool:
    resources = container.get("resources", {})
    return any(kind not in resources.get(part, {}) for part in ("requests", "limits") for kind in ("cpu", "memory"))
