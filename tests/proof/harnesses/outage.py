"""H5: Postgres goes away and comes back; or its standby takes over."""

import socket
import threading
import time
from contextlib import contextmanager
from typing import Iterator

from relay import Relay, copy

from .. import drive, postgres
from ..harness import EVERY_RUN, Context, Finding, Tally, World, harness
from ..load import SECONDS, Load, loaded
from ..server import is_busy
from .kill_loop import Watched, without_done

OUTAGES = 8
# How long streams may take until they go on, in seconds.
GO_ON = 10.0
# What a call may say of it; ABORTED is a request that is still under way.
UNAVAILABLE = {"UNAVAILABLE", "ABORTED"}
# A gateway waits 5 s for a connection, a client 10 s for an answer: in an outage that is
# shorter than this, in seconds, every call has one in time.
SHORT = 4.0


class Way(Relay):
    """One address for whichever Postgres is the primary."""

    def __init__(self, cluster: postgres.Cluster):
        self.cluster = cluster
        super().__init__()

    def forward(self, taken: socket.socket) -> None:
        try:
            other = socket.create_connection(("127.0.0.1", self.cluster.port))
        except OSError:
            taken.close()
            return
        for source, to in ((taken, other), (other, taken)):
            threading.Thread(target=_copy, args=(source, to), daemon=True).start()


def _copy(source: socket.socket, to: socket.socket) -> None:
    copy(source, to)
    for end in (source, to):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


@harness(
    "H5",
    "postgres-restart",
    required={"R1": EVERY_RUN, "R4": EVERY_RUN, "R5": EVERY_RUN, "R6": EVERY_RUN, "R23": 200},
    databases=["postgres"],
    weight=1.0,
)
def postgres_restart(cx: Context) -> Iterator[list[Finding]]:
    """`pg_ctl stop -m immediate` under load, a pause, and a start; two replicas."""
    with cx.world(replicas=2) as world, loaded(world, stay=True) as load:
        watched = Watched(world, load)
        load.read()
        load.write({load.posts: 2, load.starts: 2})
        longest = 0.0
        for _ in range(OUTAGES):
            time.sleep(cx.random.uniform(0.5, 1.5))
            gone = time.monotonic()
            cx.cluster.stop("immediate")
            time.sleep(cx.random.uniform(0, 2))
            cx.cluster.start()
            longest = max(longest, time.monotonic() - gone)
            yield outlived(cx, world, watched, longest)
        yield at_rest(world, load, watched, longest)


@contextmanager
def pair(cx: Context) -> Iterator[tuple[postgres.Cluster, postgres.Cluster]]:
    """A primary and its standby, which has whatever was committed."""
    base = str(cx.cluster.folder.parent)
    primary = postgres.Cluster(base).create()
    standby = None
    try:
        standby = primary.standby()
        with primary.connect("postgres") as db:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            db.execute("SELECT pg_reload_conf()")
        yield primary, standby
    finally:
        primary.remove()
        if standby:
            standby.remove()


@harness(
    "H5",
    "failover",
    required={"R1": EVERY_RUN, "R4": EVERY_RUN, "R5": EVERY_RUN, "R6": EVERY_RUN, "R23": 20},
    databases=["postgres"],
    weight=0.5,
)
def failover(cx: Context) -> Iterator[list[Finding]]:
    """The primary dies, and its synchronous standby is promoted and takes its address."""
    with pair(cx) as (primary, standby):
        way = Way(primary)
        url = primary.new_database()
        with cx.world(replicas=2, start=False) as world:
            for gateway in world.gateways:
                gateway.settings["METAGOV_DATABASE_URL"] = url.replace(f":{primary.port}/", f":{way.port}/")
                gateway.start()
            world.postgres_url = url
            with loaded(world, stay=True) as load:
                watched = Watched(world, load)
                load.read()
                load.write({load.posts: 2, load.starts: 2})
                time.sleep(cx.random.uniform(0.5, 2))
                gone = time.monotonic()
                primary.stop("immediate")
                time.sleep(cx.random.uniform(0, 1))
                standby.promote()
                # A standby waits for one of its own no longer.
                with standby.connect("postgres") as db:
                    db.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                    db.execute("SELECT pg_reload_conf()")
                way.cluster = standby
                world.postgres_url = url.replace(f":{primary.port}/", f":{standby.port}/")
                away = time.monotonic() - gone
                yield outlived(cx, world, watched, away)
                yield at_rest(world, load, watched, away)
        way.close()


def outlived(cx: Context, world: World, watched: Watched, longest: float) -> list[Finding]:
    """What has to hold after an outage: nothing is lost, streams go on, calls said
    UNAVAILABLE, and no gateway ended. `longest` is how long the longest so far took, since
    a call that hangs is known as one only after the next."""
    back = time.monotonic()
    tally = Tally("R23")
    for gateway in world.gateways:
        tally.expect(gateway.is_alive, f"a gateway ended with {gateway.child.poll()}")
    lines: list[dict] = []
    waiting = {"all", "posts"}
    while waiting and time.monotonic() < back + GO_ON:
        time.sleep(0.1)
        new = watched.lines()
        lines += new
        for line in new:
            if line["call"] == "watch" and line["phase"] == "got" and line["events"] and line["at"] > back:
                waiting.discard(line["stream"])
    tally.expect(not waiting, f"after {GO_ON:g} s the streams {sorted(waiting)} do not go on")
    cx.measure("Postgres back to streams going on, s", time.monotonic() - back)
    _refused_well(tally, lines, longest)
    return [*watched.checker.check(lines, world.dump()), tally.finding(), watched.surprises()]


def at_rest(world: World, load: Load, watched: Watched, longest: float) -> list[Finding]:
    """The last of the calls, and then all of the log."""
    load.pause()
    drive.wait_until(lambda: not _under_way(world.records.read()), SECONDS + 2, 0.25)
    tally = Tally("R23", done=0)
    lines = watched.lines()
    _refused_well(tally, lines, longest)
    last = watched.checker.check(lines, world.dump())
    return [*without_done([*last, *watched.finish()]), tally.finding()]


def _under_way(lines: list[dict]) -> set[int]:
    """The calls that have not ended."""
    of_calls = [line for line in lines if "id" in line]
    ended = {line["id"] for line in of_calls if line["phase"] != "intent"}
    return {line["id"] for line in of_calls} - ended


def _refused_well(tally: Tally, lines: list[dict], longest: float) -> None:
    """A call that failed said UNAVAILABLE, a hook 503. None was left without an answer,
    unless the outage or others on this machine explain that."""
    may_hang = longest > SHORT or is_busy()
    for line in lines:
        if line["phase"] != "fail":
            continue
        said = line.get("status", line.get("why"))
        if may_hang and said in ("DEADLINE_EXCEEDED", "TimeoutError"):
            continue
        if line["call"] in ("start", "watch"):
            tally.expect(said in UNAVAILABLE, f"{line['call']} failed with {said}")
        if line["call"] == "hook":
            tally.expect(said == 503, f"a hook was answered {said}")
