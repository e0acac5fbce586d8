"""H1, R20: ready soon after a kill, however long the log is."""

import sqlite3
import time
from typing import Iterator

import psycopg

from ..harness import EVERY_RUN, Context, Finding, Tally, World, harness
from ..load import loaded
from .kill_loop import READY, is_busy

EVENTS = 1_000_000
KILLS = 10
# Copies of the last event, made by the database itself while no gateway runs.
SQLITE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO event (position, event_id, community_id, record_time, ends, payload)
SELECT e.position + i, randomblob(16), e.community_id, e.record_time, 1, e.payload
FROM n, (SELECT * FROM event ORDER BY position DESC LIMIT 1) e
"""
POSTGRES = """
INSERT INTO event (position, event_id, community_id, record_time, ends, payload)
SELECT e.position + i, gen_random_uuid(), e.community_id, e.record_time, true, e.payload
FROM generate_series(1, {count}) i, (SELECT * FROM event ORDER BY position DESC LIMIT 1) e
"""
COUNTED = "UPDATE feed SET position = (SELECT max(position) FROM event)"


@harness("H1", "ready", required={"R20": EVERY_RUN}, weight=0)
def ready(cx: Context) -> Iterator[list[Finding]]:
    """A million events and a kill under load: ready within 5 s, with no help."""
    with cx.world() as world, loaded(world) as load:
        load.forum.post(world.gateway, 1_000_000)
        world.gateway.kill()
        fill(world)
        load.write({load.posts: 2})
        tally = Tally("R20", done=0)
        for kill in range(KILLS + 1):
            world.gateway.start()
            seconds = world.gateway.start_seconds
            # The first start finds tables that a stranger wrote.
            if kill:
                busy = ", the machine being busy" if is_busy() else ""
                cx.measure(f"restart to ready with a million events{busy}, s", seconds)
                if not busy:
                    tally.done += 1
                    tally.expect(seconds <= READY, f"ready after {seconds:.2f} s")
            time.sleep(cx.random.uniform(0.2, 1.5))
            world.gateway.kill()
        yield [tally.finding()]


def fill(world: World) -> None:
    if world.postgres_url:
        with psycopg.connect(world.postgres_url) as db:
            db.execute(POSTGRES.format(count=EVENTS))
            db.execute(COUNTED)
    else:
        db = sqlite3.connect(world.sqlite_file)
        with db:
            db.execute(SQLITE.format(count=EVENTS))
            db.execute(COUNTED)
        db.close()
