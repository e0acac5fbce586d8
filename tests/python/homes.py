"""The database of a gateway: of the kind that the run is about, and a test's own."""

import os
import secrets
from urllib.parse import urlsplit

import psycopg

# What this run of the tests is about.
KIND = os.environ.get("METAGOV_TEST_DATABASE") or "sqlite"

# The cluster of the run.
CLUSTER = os.environ.get("METAGOV_TEST_POSTGRES_URL")


def check() -> None:
    """Says what is missing for this run."""
    if KIND not in ("sqlite", "postgres"):
        raise RuntimeError(f"METAGOV_TEST_DATABASE: {KIND!r} is neither sqlite nor postgres")
    if KIND == "postgres" and not CLUSTER:
        raise RuntimeError("there is no Postgres: run it with `tests/tools/postgres run …`")


class Postgres:
    """An empty database on the cluster of the run."""

    def __init__(self):
        self.name = f"metagov_python_{secrets.token_hex(6)}"
        self._tell(f"CREATE DATABASE {self.name}")

    def drop(self) -> None:
        """Drops it, whoever still uses it."""
        self._tell(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def settings(self) -> dict[str, str]:
        """What a gateway must be told: on Postgres the master key is given, too."""
        return {
            "METAGOV_DATABASE_URL": urlsplit(CLUSTER)._replace(path=f"/{self.name}").geturl(),
            "METAGOV_MASTER_KEY": "5e" * 32,
        }

    def _tell(self, sql: str) -> None:
        with psycopg.connect(CLUSTER, autocommit=True) as admin:
            admin.execute(sql)
