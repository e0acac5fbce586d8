"""H1, R10: old events are removed all the time, while slow readers read them."""

import re
import threading
import time
from typing import Iterator

import grpc

from metagov.v1 import event_pb2

from ..checker import position
from ..harness import Context, Finding, Tally, World, harness
from ..load import loaded

ITERATIONS, SECONDS = 10, 2.0
READERS = 6


class Reader(threading.Thread):
    """Reads from the earliest cursor, so slowly that the trimming catches up."""

    def __init__(self, world: World, pause: float):
        super().__init__(daemon=True)
        self._world = world
        self._pause = pause
        self._over = threading.Event()
        # Each run: from which cursor, what it got, and the error that ended it.
        self.runs: list[tuple[int, list[int], list[str]]] = []
        self.faults: list[str] = []
        self.expired = 0

    def run(self) -> None:
        start = None
        with self._world.client() as client:
            while not self._over.is_set():
                start = self._read(client, start)

    def end(self) -> None:
        self._over.set()
        self.join(timeout=10)

    def _read(self, client, start: str | None) -> str | None:
        """Lists page by page until its cursor is refused; the cursor that it is given."""
        request = event_pb2.ListEventsRequest(page_size=3)
        if start:
            request.after_cursor = start
        else:
            request.start_at = event_pb2.START_AT_EARLIEST
        place = position(start) if start else None
        while not self._over.is_set():
            try:
                page = client.events.ListEvents(request, timeout=10)
            except grpc.RpcError as error:
                return self._refused(error)
            got = [position(event.cursor) for event in page.events]
            if place is not None and got and got[0] != place + 1:
                self.faults.append(f"after {place} came {got[0]}, and no error")
            for earlier, later in zip(got, got[1:]):
                if later != earlier + 1:
                    self.faults.append(f"after {earlier} came {later} in one page")
            place = position(page.cursor)
            request = event_pb2.ListEventsRequest(page_size=3, after_cursor=page.cursor)
            self.runs.append((place, got, []))
            self._over.wait(self._pause)
        return None

    def _refused(self, error: grpc.RpcError) -> str | None:
        """The cursor that goes with the refusal; it has to work."""
        if error.code() != grpc.StatusCode.OUT_OF_RANGE:
            if not self._over.is_set():
                self.faults.append(f"{error.code().name}: {error.details()}")
            return None
        earliest = earliest_cursor(error)
        self.expired += 1
        if earliest is None:
            self.faults.append("CURSOR_EXPIRED without an earliest_cursor")
        return earliest


def earliest_cursor(error: grpc.RpcError) -> str | None:
    """What the ErrorInfo of a refusal says: a map's entry, with the length of its value."""
    for key, value in error.trailing_metadata() or []:
        if key == "grpc-status-details-bin":
            found = re.search(rb"earliest_cursor\x12.([A-Za-z0-9_-]+)", value, re.DOTALL)
            return found and found[1].decode()
    return None


@harness("H1", "trim", required={"R10": 2000}, weight=1.0)
def trim(cx: Context) -> Iterator[list[Finding]]:
    """Trimmed every 100 ms: a reader gets every event or CURSOR_EXPIRED, never a hole."""
    # Nearly everything is read from the table, and the trimming comes between the check of
    # a cursor and the read, but not each time: some reads must get what they ask for.
    slow = {"ring_events": "2", "failpoints": "before-table-read=sleep@50"}
    with cx.world(trim_millis="100", **slow) as world, loaded(world) as load:
        load.write({load.posts: 3})
        readers = [Reader(world, 0.01 + 0.1 * i) for i in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            for _ in range(ITERATIONS):
                time.sleep(SECONDS)
                tally = Tally("R10", done=0)
                for reader in readers:
                    runs, reader.runs = reader.runs, []
                    tally.done, reader.expired = tally.done + reader.expired, 0
                    tally.checked += len(runs)
                    tally.faults += reader.faults
                    reader.faults = []
                yield [tally.finding()]
        finally:
            for reader in readers:
                reader.end()
