"""H4: a notification that nobody hears costs time, and no event."""

import threading
import time
from typing import Iterator

from ..harness import Context, Finding, Tally, World, harness
from ..load import READERS, loaded
from ..trouble import Trouble
from .kill_loop import Watched, without_done

ITERATIONS = 10
# How long the other replica may take, in seconds: it looks every second.
PATIENCE = 8.0
LISTENERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%'"


@harness("H4", "unheard", required={"R5": 100}, databases=["postgres"], weight=0.4)
def unheard(cx: Context) -> Iterator[list[Finding]]:
    """What one replica commits while the other's session that listens is cut reaches the
    other's streams."""
    with cx.world(replicas=2) as world, loaded(world, stay=True) as load:
        writer, reader = world.gateways
        watched = Watched(world, load)
        load.read({"posts": READERS["posts"]}, through=lambda _: reader.address)
        for number in range(1, ITERATIONS + 1):
            tally = Tally("R5")
            with Trouble(lambda stop: _deafen(world, stop)):
                time.sleep(0.1)
                load.forum.post(writer, number)
            begun = time.monotonic()
            last = world.dump().events[-1]["position"]
            found: list[Finding] = []
            while not _has(watched, last) and time.monotonic() < begun + PATIENCE:
                time.sleep(0.05)
                found += watched.check()
            tally.expect(_has(watched, last), f"after {PATIENCE:g} s nobody had heard of {last}")
            cx.measure("unheard commit to the other replica's stream, s", time.monotonic() - begun)
            for finding in without_done(found):
                finding.done = 0
            yield [*found, tally.finding(), watched.surprises()]


def _has(watched: Watched, last: int) -> bool:
    stream = watched.checker.streams.get("posts")
    return stream is not None and (stream.reached or 0) >= last


def _deafen(world: World, stop: threading.Event) -> None:
    """Cuts the sessions that listen, again and again."""
    database = world.postgres_url.rsplit("/", 1)[1]
    with world.cx.cluster.connect(database) as db:
        while not stop.is_set():
            db.execute(f"{LISTENERS} AND datname = current_database()")
            stop.wait(0.01)
