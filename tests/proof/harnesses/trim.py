"""H1, R10: old events are removed all the time, while slow readers read them."""

import itertools
import re
import threading
import time
from contextlib import contextmanager
from typing import Iterator

import grpc
from google.protobuf.duration_pb2 import Duration

from metagov.v1 import event_pb2

from ..checker import Log, contiguous, position
from ..harness import Context, Finding, Tally, World, harness
from ..load import Load, loaded
from ..server import Client
from .kill_loop import dies, restart

ITERATIONS, SECONDS = 10, 2.0
# Of each kind.
READERS = 3
# How long a reader of a stream looks away, in seconds: longer than events are kept, and
# than it takes to fill what the connection has room for.
LOOK_AWAY = 0.8
# A post of which few fill what a connection has room for, so that a stream stands still
# as soon as nobody reads it.
LONG = "long " * 1000
# Nearly everything is read from the table, and the trimming comes between the check of a
# cursor and the read, but not each time: some reads must get what they ask for.
DAWDLE = "before-table-read=sleep@50"
SLOW = {"trim_millis": "100", "ring_events": "2", "failpoints": DAWDLE}
# Where the gateway dies, and at which pass at the latest: after some seconds.
PLACES = {"before-trim": 20, "after-trim": 20}
KILLS = 10
# What a client hears of a gateway that was killed.
AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)


class Reader(threading.Thread):
    """Reads the log page by page, so slowly that the trimming catches up. It goes on after
    its last cursor, or after the one that it is given when that is refused."""

    def __init__(self, world: World, pause: float, is_killed: bool):
        super().__init__(daemon=True)
        self._world = world
        self._pause = pause
        self._is_killed = is_killed
        self._over = threading.Event()
        # Where it goes on, and the place of that; unset until it has begun.
        self._cursor = ""
        self._place: int | None = None
        # Whether that cursor came with a refusal and was not tried yet.
        self._is_given = False
        self.pages = 0
        # How often it was refused, and then got on with what it was given.
        self.expired = 0
        # How often that befell a stream which had delivered something.
        self.overtaken = 0
        self.faults: list[str] = []

    def run(self) -> None:
        # A window that grows would take in all that is to be missed.
        small = [("grpc.http2.bdp_probe", 0)]
        with Client(self._world.gateway.address, self._world.token, small) as client:
            while not self._over.is_set():
                try:
                    self._read(client)
                except grpc.RpcError as error:
                    self._refused(error)

    def end(self) -> None:
        self._over.set()
        self.join(timeout=10)

    def _read(self, client) -> None:
        """Reads one page."""
        request = event_pb2.ListEventsRequest(page_size=3)
        self._go_on(request)
        self._take(client.events.ListEvents(request, timeout=10))
        self._over.wait(self._pause)

    def _go_on(self, request) -> None:
        if self._cursor:
            request.after_cursor = self._cursor
        else:
            request.start_at = event_pb2.START_AT_EARLIEST

    def _take(self, page) -> None:
        """All that stands between the place reached and the new one has to be there."""
        got = [position(event.cursor) for event in page.events]
        reached = position(page.cursor)
        place = self._place
        if place is None:
            place = got[0] - 1 if got else reached
        if reached < place or got != list(range(place + 1, reached + 1)):
            self.faults.append(f"after {place} and up to {reached} came {got[:10]}, and no error")
        self._got_on()
        self._cursor, self._place = page.cursor, reached
        self.pages += 1

    def _got_on(self) -> None:
        """What a refusal gave it works: then the refusal was an honest one."""
        self.expired += self._is_given
        self._is_given = False

    def _refused(self, error: grpc.RpcError) -> None:
        """With a refusal goes a cursor, which has to be of a later place."""
        earliest = earliest_cursor(error)
        if error.code() != grpc.StatusCode.OUT_OF_RANGE or earliest is None:
            is_away = self._is_killed and error.code() in AWAY
            if not is_away and not self._over.is_set():
                self.faults.append(f"{error.code().name}, earliest {earliest}: {error.details()}")
            self._over.wait(0.05)
            return
        place = position(earliest)
        if self._place is not None and place <= self._place:
            self.faults.append(f"{self._place} has expired, and the earliest is {place}")
        else:
            self._got_on()
        self._cursor, self._place, self._is_given = earliest, place, True


class Watcher(Reader):
    """Reads the log as a stream, and looks away after each pause."""

    def _read(self, client) -> None:
        request = event_pb2.WatchEventsRequest(heartbeat_interval=Duration(seconds=1))
        self._go_on(request)
        stream = client.events.WatchEvents(request)
        looked, begun = time.monotonic(), self.pages
        try:
            for batch in stream:
                self._take(batch)
                if self._over.is_set():
                    break
                if time.monotonic() > looked + self._pause:
                    self._over.wait(LOOK_AWAY)
                    looked = time.monotonic()
        except grpc.RpcError as error:
            self.overtaken += error.code() == grpc.StatusCode.OUT_OF_RANGE and self.pages > begun
            raise
        finally:
            stream.cancel()


def earliest_cursor(error: grpc.RpcError) -> str | None:
    """What the ErrorInfo of a refusal says: a map's entry, with the length of its value."""
    for key, value in error.trailing_metadata() or []:
        if key == "grpc-status-details-bin":
            found = re.search(rb"earliest_cursor\x12.([A-Za-z0-9_-]+)", value, re.DOTALL)
            return found and found[1].decode()
    return None


class Readers:
    """Some of each kind, with what they have found since they were asked last."""

    def __init__(self, readers: list[Reader]):
        self._readers = readers
        self._told = {"pages": 0, "expired": 0, "overtaken": 0}

    def add_to(self, tally: Tally) -> None:
        """Adds what they compared, and what was wrong."""
        tally.checked += self.since("pages")
        for reader in self._readers:
            while reader.faults:
                tally.faults.append(reader.faults.pop(0))

    def since(self, what: str) -> int:
        """By how much a number of theirs has grown."""
        now = sum(getattr(reader, what) for reader in self._readers)
        before, self._told[what] = self._told[what], now
        return now - before


@contextmanager
def reading(world: World, load: Load, is_killed: bool = False) -> Iterator[Readers]:
    """Readers of a log that is written all the time."""
    numbers = itertools.count(1)
    load.write({lambda: post(load, next(numbers)): 3})
    readers: list[Reader] = []
    for number in range(READERS):
        pause = 0.01 + 0.2 * number
        readers += [Reader(world, pause, is_killed), Watcher(world, pause, is_killed)]
    for reader in readers:
        reader.start()
    try:
        yield Readers(readers)
    finally:
        for reader in readers:
            reader.end()


def post(load: Load, number: int) -> None:
    """A long post; what is not taken is not looked for."""
    if not load.forum.post(load.gateway(), number, LONG):
        time.sleep(0.05)


@harness("H1", "trim", required={"R10": 2000}, weight=1.0)
def trim(cx: Context) -> Iterator[list[Finding]]:
    """Trimmed every 100 ms: a reader gets every event or CURSOR_EXPIRED, never a hole."""
    with cx.world(**SLOW) as world, loaded(world) as load, reading(world, load) as readers:
        for _ in range(ITERATIONS):
            time.sleep(SECONDS)
            tally = Tally("R10", done=readers.since("expired"))
            readers.add_to(tally)
            cx.measure(f"streams that the trimming overtook within {SECONDS:g} s", readers.since("overtaken"))
            yield [tally.finding()]


@harness("H1", "trim-kills", required={"R10": 50}, weight=0.5)
def trim_kills(cx: Context) -> Iterator[list[Finding]]:
    """The gateway dies before or after it removes old events: no hole, neither for readers
    nor in the log; a place that it never reaches fails the run."""
    with cx.world(**SLOW) as world, loaded(world) as load, reading(world, load, True) as readers:
        for _, (place, most) in zip(range(KILLS), itertools.cycle(PLACES.items())):
            tally, ready = Tally("R10"), Tally("R20")
            time.sleep(SECONDS / 2)
            world.gateway.kill()
            armed = f"{place}=kill@{cx.random.randint(1, most)}"
            tally.expect(dies(world, f"{DAWDLE},{armed}"), f"the gateway never came to {armed}")
            world.gateway.kill()
            contiguous(Log(world.dump()), tally)
            restart(world, ready)
            cx.measure(f"kills {place}", 1)
            readers.add_to(tally)
            yield [tally.finding(), ready.finding()]
