"""R21: the disk fills up, and is freed again, without a restart.

The database lies in a small tmpfs, which root can mount; a file fills the rest of it. Of
Postgres it is the data folder without its write-ahead log: when there is no room for that,
Postgres itself goes down, which is an outage (H5) and no full disk.
"""

import shutil
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Iterator

import grpc

from discourse import FakeDiscourse
from metagov.v1 import event_pb2

from .. import drive, postgres
from ..harness import CannotRun, Context, Finding, Tally, World, harness

SQLITE_SIZE = "64m"
POSTGRES_SIZE = "96m"
# Nothing that a database can make smaller.
TEXT = Random(1).randbytes(10_000).hex()
# A fresh disk after so many: what was written stays on it.
CYCLES = 40
# How soon it has to heal.
HEALS = 30.0


@harness("R21", "disk-full", required={"R21": 200}, weight=0.7)
def disk_full(cx: Context) -> Iterator[list[Finding]]:
    """A full disk: writes say so, reads go on, and it heals without a restart."""
    with ExitStack() as stack:
        if cx.database == "sqlite":
            world = stack.enter_context(cx.world(start=False))
            disk = stack.enter_context(_tmpfs(world.gateway.data, SQLITE_SIZE))
        else:
            cluster = postgres.Cluster()
            stack.callback(cluster.remove)
            disk = stack.enter_context(_tmpfs(cluster.folder / "disk", POSTGRES_SIZE))
            # Before the disk goes from under it.
            stack.callback(_stop, cluster)
            _lay_out(cluster, disk)
            url = cluster.new_database()
            world = stack.enter_context(cx.world(start=False, database_url=url))
            world.postgres_url = url
            world.gateway.settings["METAGOV_DATABASE_URL"] = url
        world.gateway.start()
        forum = stack.enter_context(FakeDiscourse())
        client = stack.enter_context(world.client())
        drive.stage(client, "ballot")
        installation = drive.enable(client, "discourse", forum.config())
        acked: list[int] = []
        stream = _Stream(client)
        stack.callback(stream.end)
        for _ in range(CYCLES):
            tally = Tally("R21")
            _cycle(world, tally, (client, installation, forum, disk), acked, stream)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _lay_out(cluster: postgres.Cluster, disk: Path) -> None:
    """The data on the small disk, the log beside it."""
    shutil.chown(disk, "postgres")
    cluster.data = disk / "data"
    cluster.create()
    cluster.stop("fast")
    beside = cluster.folder / "pg_wal"
    shutil.copytree(cluster.data / "pg_wal", beside)
    shutil.rmtree(cluster.data / "pg_wal")
    for path in [beside, *beside.rglob("*")]:
        shutil.chown(path, "postgres", "postgres")
    beside.chmod(0o700)
    (cluster.data / "pg_wal").symlink_to(beside)
    cluster.start()


def _stop(cluster: postgres.Cluster) -> None:
    try:
        cluster.stop()
    except RuntimeError:
        # It is down already.
        pass


@contextmanager
def _tmpfs(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        raise CannotRun(f"a tmpfs cannot be mounted here, as root can: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


class _Stream:
    """Somebody who watches all the while."""

    def __init__(self, client):
        request = event_pb2.WatchEventsRequest(start_at=event_pb2.START_AT_EARLIEST)
        request.heartbeat_interval.FromSeconds(1)
        self._call = client.events.WatchEvents(request)
        self.last = time.monotonic()
        self.seen = 0
        self.failed = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for message in self._call:
                self.seen += len(message.events)
                self.last = time.monotonic()
            self.failed = "it ended"
        except grpc.RpcError as error:
            self.failed = f"{error.code()}: {error.details()}"

    def end(self) -> None:
        self._call.cancel()


def _cycle(world: World, tally: Tally, stage, acked: list[int], stream: _Stream) -> None:
    client, installation, forum, disk = stage
    filler = disk / "filler"

    def deliver(text: str = TEXT) -> int:
        post = len(acked) + 1_000_000 * (1 + tally.checked)
        status = _hook(world, installation, forum, post, text).status
        if status == 200:
            acked.append(post)
        return status

    # Some writes while there is room, then none.
    for _ in range(3):
        tally.expect(deliver() == 200, "a hook is refused while there is room")
    _fill(filler)
    status, told = 200, ""
    for _ in range(400):
        status = deliver()
        if status != 200:
            break
        _fill(filler)
    tally.expect(status == 503, f"a hook on a full disk is answered {status}")
    answer = _hook(world, installation, forum, 5, TEXT)
    tally.expect(answer.status == 503, f"a hook on a full disk is answered {answer.status}")
    tally.expect(answer.headers.get("retry-after") is not None, "503 without Retry-After")
    try:
        for number in range(50):
            drive.vote(client, details=TEXT[:9000])
            _fill(filler)
        told = "OK"
    except grpc.RpcError as error:
        told = f"{error.code().name} {drive.reason(error)}"
    tally.expect(told == "RESOURCE_EXHAUSTED STORAGE_FULL", f"a write is told {told}")
    # Reads and streams go on.
    try:
        drive.events(client)
        read = ""
    except grpc.RpcError as error:
        read = f"{error.code()}: {error.details()}"
    tally.expect(read == "", f"a read fails: {read}")
    time.sleep(1.5)
    tally.expect(stream.failed == "", f"the stream: {stream.failed}")
    tally.expect(time.monotonic() - stream.last < 5, "the stream is silent")
    filler.unlink(missing_ok=True)
    begun = time.monotonic()
    healed = drive.wait_until(lambda: deliver("short") == 200, HEALS, 0.1)
    tally.expect(healed, f"no write within {HEALS} s after there was room again")
    world.cx.measure("healed after a full disk, s", time.monotonic() - begun)
    tally.expect(world.gateway.is_alive, "the gateway ended")
    stored = drive.delivered(world.dump())
    for post in acked:
        tally.expect(post in stored, f"post {post} was answered 200 and is gone")


def _hook(world: World, installation, forum, post: int, text: str):
    """Delivers a post; the answer, or what stands for none."""
    try:
        return drive.deliver_answer(world.gateway, installation, forum.url, post, text)
    except (OSError, HTTPException) as error:
        return SimpleNamespace(status=type(error).__name__, headers={})


def _fill(filler: Path) -> None:
    """Takes what is left, but for less than a page."""
    try:
        with filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError:
        pass
    try:
        with filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass
