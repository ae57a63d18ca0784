"""A real PostgreSQL on loopback, from the machine's own package."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from factories.ports import free_ports

PASSWORD = "postgresql's"


@contextmanager
def postgresql(*databases: str) -> Iterator[str]:
    """The address of a server with these databases, `user:password@host:port`; skips the test where none is installed.

    PostgreSQL refuses to run as root: then it runs as `nobody`.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("needs PostgreSQL: `apt-get install postgresql`")
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        shutil.chown(folder, user)
        (folder / "password").write_text(PASSWORD)
        shutil.chown(folder / "password", user)
        initdb = [programs[-1] / "initdb", "--pgdata", folder / "data", "--username=alambique", "--auth=scram-sha-256"]
        subprocess.run([*initdb, "--pwfile", folder / "password"], check=True, capture_output=True, user=user, cwd="/")
        (port,) = free_ports(1)
        options = ["-D", folder / "data", "-k", folder, "-h", "127.0.0.1", "-p", str(port), "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([programs[-1] / "postgres", *options], stdout=log, stderr=log, user=user, cwd="/")
        try:
            for database in databases:
                _create(port, database)
            yield f"alambique:{PASSWORD}@127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(folder)


def _create(port: int, database: str) -> None:
    import psycopg2

    address = {"host": "127.0.0.1", "port": port, "user": "alambique", "password": PASSWORD, "dbname": "postgres"}
    for _ in range(300):
        try:
            connection = psycopg2.connect(**address)
        except psycopg2.OperationalError:
            time.sleep(0.2)
            continue
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {database}")
        connection.close()
        return
    raise RuntimeError(f"PostgreSQL did not come up on port {port}")
