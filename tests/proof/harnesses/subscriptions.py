"""H1 for subscriptions: what was acknowledged is durable, and the lag is exact."""

import sqlite3
import threading
import time
from contextlib import closing
from typing import Iterator

import grpc
import psycopg
from google.protobuf.duration_pb2 import Duration

from metagov.v1 import event_pb2, subscription_pb2

from ..checker import Log, position
from ..harness import EVERY_RUN, Context, Finding, Tally, World, harness
from ..load import READERS, SECONDS, Load, event_filter, loaded, settle
from .kill_loop import restart

ID = "the-driver"
WANTED = READERS["posts"]
KILLS, LONGEST = 15, 1.5


class Driver(threading.Thread):
    """Reads its subscription, and acknowledges what it has dealt with."""

    def __init__(self, world: World, load: Load):
        super().__init__(daemon=True)
        self._world = world
        self._load = load
        self._over = threading.Event()
        # The highest place whose acknowledgement was answered, and how many were.
        self.acknowledged = 0
        self.answered = 0
        # The highest place that was sent to be acknowledged, answered or not.
        self.asked = 0
        self.faults: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._load.client() as client:
                    self._follow(client)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    self.faults.append(f"{error.code().name}: {error.details()}")
            self._over.wait(0.02)

    def end(self) -> None:
        self._over.set()
        self.join(timeout=SECONDS)

    def _follow(self, client) -> None:
        before, most = self.acknowledged, None
        request = event_pb2.WatchEventsRequest(
            subscription_id=ID, heartbeat_interval=Duration(seconds=1)
        )
        stream = client.events.WatchEvents(request)
        first = True
        for batch in stream:
            got = [position(event.cursor) for event in batch.events]
            if first and got:
                # It goes on after what was acknowledged: not before it, and nothing is
                # left out (the checker of R5 sees to the rest).
                first, most = False, self.asked
                if got[0] <= before:
                    self.faults.append(f"{got[0]} came again, and {before} was acknowledged")
                self._expect_next(client, got[0], most)
            # What is not acknowledged comes again: every other batch is left alone.
            if batch.events and len(got) % 2 == self.answered % 2:
                self._acknowledge(client, batch.cursor)
            elif not batch.events:
                self._acknowledge(client, batch.cursor)
            if self._over.is_set():
                stream.cancel()

    def _expect_next(self, client, first: int, most: int) -> None:
        """Nothing between the place acknowledged and the first event was left out."""
        log = Log(self._world.dump())
        left = [at for at in log.between(most, first - 1, WANTED) if not log.blank(at)]
        if left:
            self.faults.append(f"{left[:5]} were left out, {most} being acknowledged at most")

    def _acknowledge(self, client, cursor: str) -> None:
        at = position(cursor)
        self.asked = max(self.asked, at)
        request = subscription_pb2.AcknowledgeEventsRequest(subscription_id=ID, cursor=cursor)
        client.subscriptions.AcknowledgeEvents(request, timeout=SECONDS)
        self.acknowledged = max(self.acknowledged, at)
        # Each one is looked for, not just the last one before a kill.
        kept = acknowledged(self._world)
        if kept < at:
            self.faults.append(f"{at} was acknowledged, and {kept} is kept")
        self.answered += 1


def acknowledged(world: World) -> int:
    """The place that the database has, straight from it."""
    query = "SELECT acknowledged FROM subscription"
    if world.postgres_url:
        with psycopg.connect(world.postgres_url) as db:
            return db.execute(query).fetchone()[0]
    with closing(sqlite3.connect(world.sqlite_file, timeout=30)) as db:
        return db.execute(query).fetchone()[0]


@harness("H1", "subscriptions", required={"R11": 1000, "R12": EVERY_RUN}, weight=1.0)
def subscriptions(cx: Context) -> Iterator[list[Finding]]:
    """A driver acknowledges while the gateway is killed; at rest its lag is counted."""
    with cx.world() as world, loaded(world) as load:
        wanted = subscription_pb2.Subscription(subscription_id=ID, filter=event_filter(WANTED))
        with world.client() as client:
            client.subscriptions.CreateSubscription(
                subscription_pb2.CreateSubscriptionRequest(
                    subscription=wanted, start_at=event_pb2.START_AT_EARLIEST
                ),
                timeout=SECONDS,
            )
        driver = Driver(world, load)
        driver.start()
        load.write({load.posts: 2, load.changes: 1})
        told = 0
        try:
            for _ in range(KILLS):
                time.sleep(cx.random.uniform(0.2, LONGEST))
                world.gateway.kill()
                durable, ready = Tally("R11", done=0), Tally("R20")
                before, kept = driver.acknowledged, acknowledged(world)
                durable.expect(kept >= before, f"{before} was acknowledged, and {kept} is kept")
                restart(world, ready)
                while driver.faults:
                    durable.faults.append(driver.faults.pop(0))
                answered = driver.answered
                durable.done, told = answered - told, answered
                durable.checked += durable.done
                yield [durable.finding(), ready.finding(), lag(world, load)]
        finally:
            driver.end()


def lag(world: World, load: Load) -> Finding:
    """At rest, the lag is the number of matching rows after the acknowledged place."""
    tally = Tally("R12")
    load.pause()
    settle(world)
    request = subscription_pb2.GetSubscriptionRequest(subscription_id=ID)
    with world.client() as client:
        for _ in range(20):
            before = world.dump()
            found = client.subscriptions.GetSubscription(request, timeout=SECONDS).subscription
            after = world.dump()
            # The driver goes on: only what did not move meanwhile can be compared.
            if before.rows("subscription") == after.rows("subscription") and before.events == after.events:
                log = Log(after)
                behind = log.between(position(found.acknowledged_cursor), log.last, WANTED)
                tally.expect(
                    found.lag_count == len(behind), f"{found.lag_count}, and {len(behind)} rows are behind"
                )
                break
    load.go_on()
    return tally.finding()
