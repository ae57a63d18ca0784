"""Bring MLflow's database to the schema of this image (`migrate`), or wait until it has it (`wait`).

Usage: mlflow_database.py migrate|wait URL

The URL has no password: libpq takes it from $PGPASSWORD. MLflow itself creates the tables of an empty database in every
process that finds none, so servers that start together would race: only the migration Job writes, servers wait.
"""

import subprocess
import sys
import time
from pathlib import Path

import mlflow
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

PACKAGE = Path(mlflow.__file__).parent
SCHEMAS = {"alembic_version": "store/db_migrations", "alembic_version_auth": "server/auth/db/migrations"}
"""Folder of the migrations of tracking and registry, and of users and permissions, by the table of their revision."""

SECONDS = 900
"""How long to wait, for a server that does not answer or for another's migration."""


def behind(url):
    """What keeps the database from being used by this image, or None."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            for table, folder in SCHEMAS.items():
                head = ScriptDirectory(str(PACKAGE / folder)).get_current_head()
                context = MigrationContext.configure(connection, opts={"version_table": table})
                if (current := context.get_current_revision()) != head:
                    return f"{table} has revision {current}, MLflow {mlflow.__version__} needs {head}"
    except OperationalError as error:
        return f"no connection: {error.orig}".strip()
    return None


def migrate(url):
    """Run MLflow's own migrations; those that are done already change nothing."""
    for module, option in (("mlflow", []), ("mlflow.server.auth", ["--url"])):
        subprocess.run([sys.executable, "-m", module, "db", "upgrade", *option, url], check=True)


def main(verb, url):
    deadline = time.monotonic() + SECONDS
    while problem := behind(url):
        print(problem, flush=True)
        if verb == "migrate" and not problem.startswith("no connection"):
            migrate(url)
        elif time.monotonic() > deadline:
            sys.exit(f"gave up after {SECONDS} seconds: {problem}")
        else:
            time.sleep(5)
    print("the schema is up to date", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
