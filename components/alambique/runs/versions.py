"""`versions.yaml`: installed versions of the packages that results depend on, a parameter file of every stage."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from alambique.config import read_yaml
from alambique.errors import ConfigurationError
from alambique.files import write_text

FILE = "versions.yaml"
PACKAGES = (
    *("alambique", "nncf", "onnx", "onnxruntime", "openvino", "optuna", "timm", "torch", "torch-pruning"),
    *("tokenizers", "transformers", "ultralytics"),
)
COMMENT = (
    "# Written by `alambique versions`: what the results depend on besides data and parameters. "
    "A change re-runs every stage.\n"
)


def installed() -> dict[str, str]:
    """The version of each package that changes results, as this interpreter has it.

    A local part (torch 2.10.0+cpu) is left out: builds of one version differ between machines.

    Raises:
        ConfigurationError: one is not installed.
    """
    try:
        return {package: version(package).partition("+")[0] for package in PACKAGES}
    except PackageNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed here; install `alambique[ml]`") from None


def write(project: Path) -> None:
    """Write `versions.yaml` in the project's root."""
    write_text(project / FILE, COMMENT + yaml.safe_dump(installed()))


def check(project: Path) -> None:
    """Refuse to run a project with other versions than its `versions.yaml` names.

    Raises:
        ConfigurationError: they differ; the message names each.
    """
    recorded, present = read_yaml(project / FILE) or {}, installed()
    differences = [
        f"{package} {recorded.get(package)} → {present.get(package)}"
        for package in sorted(recorded.keys() | present.keys())
        if recorded.get(package) != present.get(package)
    ]
    if differences:
        raise ConfigurationError(
            f"{FILE} was written by other versions than are installed here ({', '.join(differences)}); "
            f"run `alambique versions` and commit {FILE}, or install what it names"
        )
