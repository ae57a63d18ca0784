"""The image of Airflow's side, built by buildah on a Debian that debootstrap lays out, and started."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.airflow_project import SOURCE

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

BASE, IMAGE = "localhost/alambique-test-base", "localhost/alambique-test-airflow"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def do(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr[-5000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.geteuid() or not (shutil.which("buildah") and shutil.which("debootstrap")):
        pytest.skip("needs root, and `apt-get install buildah debootstrap`")
    root = tmp_path_factory.mktemp("debian") / "root"
    do("debootstrap", "--variant=minbase", "--include=python3,python3-pip,python3-venv,ca-certificates", "stable", root)
    base = do("buildah", "from", "scratch")
    do("buildah", "copy", base, root, "/")
    do("buildah", "copy", base, CERTIFICATES, CERTIFICATES)  # those of this machine, which may have a proxy
    do("buildah", "config", "--env", f"PIP_CERT={CERTIFICATES}", "--env", f"SSL_CERT_FILE={CERTIFICATES}", base)
    do("buildah", "commit", "--quiet", base, BASE)
    shutil.rmtree(root)
    build = ["buildah", "build", "--isolation", "chroot", "--target", "airflow", "--build-arg", f"BASE={BASE}"]
    do(*build, "--build-arg", "VERSION=1.2.3", "--tag", IMAGE, SOURCE)
    made = do("buildah", "from", IMAGE)
    yield made
    do("buildah", "rm", base, made)
    do("buildah", "rmi", "--force", IMAGE, BASE)


def inside(container: str, *command: str) -> str:
    return do("buildah", "run", "--isolation", "chroot", container, "--", *command)


def test_it_runs_as_nobody_in_particular_and_may_write_its_home(container: str) -> None:
    assert inside(container, "id", "-u") == "50000"
    inside(container, "sh", "-c", "touch ~/file $AIRFLOW_HOME/file")


def test_it_has_airflow_with_this_provider_and_no_ml_library(container: str) -> None:
    packages = inside(container, "airflow", "providers", "list", "--output", "plain")
    assert {"alambique", "apache-airflow-providers-celery", "apache-airflow-providers-cncf-kubernetes"} <= {
        line.split()[0] for line in packages.splitlines() if line.strip()
    }
    code = "import importlib.util as u; print([n for n in ('torch', 'mlflow', 'dvc') if u.find_spec(n)])"
    assert inside(container, "python", "-c", code) == "[]"


def test_what_built_it_is_not_in_it(container: str) -> None:
    assert inside(container, "sh", "-c", "ls /build /opt/uv 2>/dev/null; command -v uv gcc make || true") == ""


def test_its_labels_say_what_it_is(container: str) -> None:
    labels = do("buildah", "inspect", "--type", "image", "--format", "{{.OCIv1.Config.Labels}}", IMAGE)
    assert "org.opencontainers.image.version:1.2.3" in labels
    assert "org.opencontainers.image.licenses:AGPL-3.0-or-later" in labels
