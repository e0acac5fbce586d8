"""H2: the power fails while hooks and ballots come in.

`strace` logs what the database's process does to its files; images of the disk as it may
be found afterwards are made of that log (`disklog.py`). Each is opened by the database and
the gateway, and all that was answered well before the moment must be there. On Postgres
it is the whole data folder of the cluster, its write-ahead log included.
"""

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

import grpc

from discourse import FakeDiscourse

from .. import dump, drive, postgres
from ..disklog import DiskLog, strace
from ..harness import EVERY_RUN, CannotRun, Context, Finding, Tally, World, harness
from ..server import Gateway

# Images of one log.
IMAGES = 25
WRITERS = 4
HOOKS = 40
# How much of what was not synced is kept.
KEEP = [0.0, 0.1, 0.5, 0.9, 1.0]


@dataclass
class Acked:
    """What was answered well, and when; wall clock, as in the log."""

    posts: list[tuple[float, int]] = field(default_factory=list)
    ballots: list[tuple[float, str]] = field(default_factory=list)
    # How many got no answer.
    failed: int = 0


@harness("H2", "power-loss", required={"R1": 500, "R5": EVERY_RUN}, weight=1.0)
def power_loss(cx: Context) -> Iterator[list[Finding]]:
    """Images of the disk after a power cut: what was acked is there."""
    if shutil.which("strace") is None:
        raise CannotRun("strace is missing; install it (Debian: apt-get install strace)")
    yield from (_on_sqlite if cx.database == "sqlite" else _on_postgres)(cx)


def _on_sqlite(cx: Context) -> Iterator[list[Finding]]:
    with cx.world(start=False) as world:
        gateway = world.gateway
        trace = world.folder / "trace"
        gateway.command = lambda: [*strace(trace), *Gateway.command(gateway)]
        gateway.start()
        acked = _write(world)
        # strace goes when the last process that it follows has gone.
        _kill_children(gateway.child.pid)
        gateway.child.wait()
        log = _read(DiskLog(gateway.data), trace)
        for number in range(IMAGES):
            image = world.folder / f"image-{number}"
            at = _moment(cx, log, acked)
            log.image(at, image / "data", cx.random, cx.random.choice(KEEP))
            opened = Gateway(image, gateway.settings)
            tallies = [_whole(image / "data" / "metagov.db", image / "copy")]
            tallies += _check(opened, lambda: dump.sqlite(opened.data / "metagov.db"), acked, at)
            yield from _end(world, image, tallies)


def _on_postgres(cx: Context) -> Iterator[list[Finding]]:
    with ExitStack() as stack:
        cluster = postgres.Cluster("/dev/shm")
        stack.callback(cluster.remove)
        cluster.create()
        url = cluster.new_database()
        cluster.stop("fast")
        trace = cluster.folder / "trace"
        base = cluster.folder / "base"
        shutil.copytree(cluster.data, base)
        command = [*strace(trace), str(cluster.binaries / "postgres"), "-D", str(cluster.data)]
        server = subprocess.Popen(
            postgres.as_postgres(command), cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(_kill_cluster, cluster, server)
        _await(cluster)
        world = stack.enter_context(cx.world(start=False, database_url=url))
        world.postgres_url = url
        world.gateway.settings["METAGOV_DATABASE_URL"] = url
        world.gateway.start()
        stop = threading.Event()
        stack.callback(stop.set)
        threading.Thread(target=_checkpoints, args=(cluster, stop), daemon=True).start()
        acked = _write(world)
        stop.set()
        token = world.gateway.data
        _kill_cluster(cluster, server)
        world.gateway.kill()
        log = _read(DiskLog(cluster.data, base), trace)
        begun = min(at for at, _ in acked.posts)
        for number in range(IMAGES):
            copy = postgres.Cluster("/dev/shm")
            try:
                at = max(begun, _moment(cx, log, acked))
                log.image(at, copy.data, cx.random, cx.random.choice(KEEP))
                _own(copy)
                tallies = [_recovers(copy)]
                image = world.folder / f"image-{number}"
                copy_url = copy.url(url.rsplit("/", 1)[1])
                opened = Gateway(image, world.gateway.settings | {"METAGOV_DATABASE_URL": copy_url})
                # The token lies in the folder, which is no part of the database.
                shutil.copytree(token, opened.data, dirs_exist_ok=True)
                if not tallies[0].faults:
                    tallies += _check(opened, lambda: dump.postgres(copy_url), acked, at)
                yield from _end(world, image, tallies)
            finally:
                copy.remove()


def _write(world: World) -> Acked:
    """Hooks and ballots from several sides at once."""
    acked = Acked()
    with FakeDiscourse() as forum, world.client() as client:
        drive.stage(client, "ballot")
        installation = drive.enable(client, "discourse", forum.config())
        process = drive.vote(client).process_id

        def work(writer: int) -> None:
            for number in range(HOOKS):
                post = writer * HOOKS + number
                try:
                    if drive.deliver(world.gateway, installation, forum.url, post) == 200:
                        acked.posts.append((time.time(), post))
                    if number % 4 == 0:
                        voter = f"voter {post}"
                        drive.cast(client, process, voter, ["a"])
                        acked.ballots.append((time.time(), voter))
                except (OSError, grpc.RpcError):
                    acked.failed += 1

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if len(acked.posts) < WRITERS * HOOKS // 2:
        raise RuntimeError(f"only {len(acked.posts)} hooks were answered, {acked.failed} failed")
    return acked


def _read(log: DiskLog, trace: Path) -> DiskLog:
    log.read(trace)
    if log.unknown:
        raise RuntimeError(f"the log holds what it cannot follow: {log.unknown[:3]}")
    if not log.syncs:
        raise RuntimeError("the log saw no sync: is strace allowed here?")
    return log


def _moment(cx: Context, log: DiskLog, acked: Acked) -> float:
    """Mostly right after an answer, when a promise is youngest; else anywhen."""
    if cx.random.random() < 0.7:
        at, _ = cx.random.choice(acked.posts + acked.ballots)
        return at + cx.random.choice([0.0, 0.0, cx.random.random() * 0.02])
    return cx.random.choice(log.moments()) + cx.random.random() * 0.001


def _whole(file: Path, copy: Path) -> Tally:
    """SQLite's own check, on a copy, since to open it is to mend it."""
    tally = Tally("R1", done=0)
    if not file.exists():
        return tally
    copy.mkdir()
    for part in file.parent.glob("metagov.db*"):
        shutil.copy(part, copy / part.name)
    with closing(sqlite3.connect(copy / file.name)) as db:
        try:
            said = db.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            said = str(error)
    tally.expect(said == "ok", f"integrity_check: {said}")
    return tally


def _recovers(copy: postgres.Cluster) -> Tally:
    """Whether Postgres comes up on the image."""
    tally = Tally("R1", done=0)
    try:
        copy.start()
        why = ""
    except RuntimeError as error:
        why = str(error)
    tally.expect(why == "", f"Postgres does not recover: {why}")
    return tally


def _check(opened: Gateway, read, acked: Acked, at: float) -> list[Tally]:
    """The gateway opens the image, and what was acked is there."""
    stored, order = Tally("R1"), Tally("R5")
    try:
        opened.start()
    except RuntimeError as error:
        stored.expect(False, f"the gateway does not open it: {error}")
        return [stored]
    try:
        found = read()
    finally:
        opened.kill()
    posts = drive.delivered(found)
    for when, post in acked.posts:
        if when <= at:
            stored.expect(post in posts, f"post {post} was answered 200 {at - when:.4f} s before")
    voters = {row["voter"] for row in found.rows("ballot")}
    for when, voter in acked.ballots:
        if when <= at:
            stored.expect(voter in voters, f"the ballot of {voter}, {at - when:.4f} s before")
    positions = [row["position"] for row in found.events]
    first = positions[0] if positions else 1
    order.expect(positions == list(range(first, first + len(positions))), "positions with a gap")
    order.expect(
        found.rows("feed")[0]["position"] == (positions[-1] if positions else 0),
        f"the counter is {found.rows('feed')[0]['position']}, the last event {positions[-1:]}",
    )
    return [stored, order]


def _end(world: World, image: Path, tallies: list[Tally]) -> Iterator[list[Finding]]:
    if any(tally.faults for tally in tallies):
        world.keep()
    else:
        shutil.rmtree(image, ignore_errors=True)
    yield [tally.finding() for tally in tallies]


def _kill_children(pid: int) -> None:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def _await(cluster: postgres.Cluster) -> None:
    def up() -> bool:
        try:
            cluster.connect("postgres").close()
            return True
        except Exception:
            return False

    if not drive.wait_until(up, 60):
        raise RuntimeError("Postgres under strace does not come up")


def _checkpoints(cluster: postgres.Cluster, stop: threading.Event) -> None:
    """So that the data files are written, too, and not the log alone."""
    try:
        with cluster.connect("postgres") as db:
            while not stop.wait(0.5):
                db.execute("CHECKPOINT")
    except Exception:
        # It is killed under our feet.
        pass


def _kill_cluster(cluster: postgres.Cluster, server: subprocess.Popen) -> None:
    if server.poll() is not None:
        return
    pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    server.wait(timeout=60)


def _own(copy: postgres.Cluster) -> None:
    """What a machine that was switched on again would find: no process of before."""
    (copy.data / "postmaster.pid").unlink(missing_ok=True)
    copy.configure(f"\nport = {copy.port}\nunix_socket_directories = '{copy.folder}'\n")
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    for path in [copy.data, *copy.data.rglob("*")]:
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
    os.chmod(copy.data, 0o700)
