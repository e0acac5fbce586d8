"""A Postgres of the proof's own: real fsync, on a real disk unless told otherwise."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from gateway import free_port

SETTINGS = """
fsync = on
synchronous_commit = on
full_page_writes = on
max_connections = 200
shared_buffers = 128MB
unix_socket_directories = '{folder}'
listen_addresses = '127.0.0.1'
port = {port}
log_min_messages = warning
wal_level = replica
max_wal_senders = 8
hot_standby = on
"""


class Missing(RuntimeError):
    """There is no Postgres on this machine."""


def binaries() -> Path:
    """Where initdb and pg_ctl are: the newest of Debian's, else on the PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3])
    )
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    raise Missing("no Postgres here; install it (Debian: apt-get install postgresql)")


def as_postgres(command: list[str]) -> list[str]:
    """The command as a user that Postgres accepts, since it refuses root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


def run(command: list[str]) -> None:
    """Runs one of Postgres's own programs; what it says is shown only if it fails."""
    done = subprocess.run(
        as_postgres(command), stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/"
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


class Cluster:
    """One server with its data, which lives until `remove`."""

    def __init__(self, base: str = "/var/tmp"):
        self.binaries = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="metagov-proof-pg-", dir=base))
        self.data = self.folder / "data"
        self.port = free_port()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._databases = 0

    def create(self) -> "Cluster":
        """Makes a new, empty cluster and starts it."""
        initdb = str(self.binaries / "initdb")
        run([initdb, "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"])
        self.configure(SETTINGS.format(folder=self.folder, port=self.port))
        self.start()
        return self

    def configure(self, lines: str) -> None:
        """Appends settings; they hold from the next start."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(lines)

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        log = str(self.folder / "postgres.log")
        self._ctl("start", "-w", "-t", "60", "-l", log)

    def is_running(self) -> bool:
        """Whether it takes connections."""
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, mode: str = "immediate") -> None:
        """Stops it; `immediate` is as good as a crash."""
        self._ctl("stop", "-w", "-m", mode)

    def promote(self) -> None:
        """Makes a standby the primary."""
        self._ctl("promote", "-w")

    def standby(self) -> "Cluster":
        """A streaming standby of this cluster, started."""
        other = Cluster(str(self.folder.parent))
        backup = str(self.binaries / "pg_basebackup")
        run([backup, "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
             "-D", str(other.data), "-R", "-X", "stream", "-c", "fast"])
        other.configure(f"port = {other.port}\nunix_socket_directories = '{other.folder}'\n")
        other.start()
        return other

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        self._databases += 1
        name = f"proof_{self._databases}_{os.getpid()}"
        with self.connect("postgres") as db:
            db.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    def wait_for_clients(self, seconds: float = 10) -> None:
        """Waits until no client is connected, so that what they sent is done with."""
        deadline = time.monotonic() + seconds
        asked = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        while time.monotonic() < deadline:
            with self.connect("postgres") as db:
                if db.execute(asked).fetchone()[0] <= 1:
                    return
            time.sleep(0.05)

    def remove(self) -> None:
        """Stops it and removes its data."""
        try:
            self.stop()
        except RuntimeError:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ctl(self, *arguments: str) -> None:
        run([str(self.binaries / "pg_ctl"), "-D", str(self.data), *arguments])
