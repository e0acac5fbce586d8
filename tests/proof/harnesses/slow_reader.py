"""H7: readers that read nothing, over raw HTTP/2, while much is written.

They answer pings and never send a WINDOW_UPDATE. What the gateway holds may grow by 64 MiB,
and by 1 MiB for each of them; others' p99 at most doubles.
"""

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Iterator

import grpc
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame

from discourse import FakeDiscourse
from http2 import EMPTY, WATCH, Line
from metagov.v1 import event_pb2

from .. import drive
from ..harness import Context, Finding, Tally, World, harness

READERS = 100
# What stands in the log before: 4 MiB, of which each stalled reader wants all.
POSTS, TEXT = 256, "x" * 16_000
WRITERS = 4
# How long they are stalled in a release, and what comes before that: as a part of it, and
# at least so long without the stalled ones, to know what is usual.
SECONDS = 600.0
FIRST, SHORTEST = 0.25, 3.0
MAY_GROW = 64 << 20
EACH = 1 << 20
RATE = 2000.0
# A machine on which it is slower than this before anybody stalls is busy with other
# things: then what is measured says nothing of the gateway.
USUAL = 0.1
NOISE = 0.01


@harness("H7", "slow-reader", required={"R13": READERS}, weight=0.7)
def slow_reader(cx: Context) -> Iterator[list[Finding]]:
    """Stalled readers: memory stays bounded, others are served as before."""
    with ExitStack() as stack:
        world = stack.enter_context(cx.world(http2_keepalive_timeout="1h"))
        forum = stack.enter_context(FakeDiscourse())
        with world.client() as client:
            drive.community(client)
            installation = drive.enable(client, "discourse", forum.config())
        with ThreadPoolExecutor(8) as pool:
            send = lambda post: drive.deliver(world.gateway, installation, forum.url, -post, TEXT)
            list(pool.map(send, range(1, POSTS)))
        # Nobody has it in memory.
        world.gateway.kill()
        world.gateway.start()
        client = stack.enter_context(world.client())
        while True:
            # What a bug does it does at once.
            longest = SECONDS if cx.bug is None else 16.0
            seconds = min(longest, max(8.0, (cx.deadline - time.monotonic()) * 0.55))
            tally = Tally("R13", done=0)
            _stall(world, tally, (client, installation, forum), seconds)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _stall(world: World, tally: Tally, stage, seconds: float) -> None:
    """Readers stall for so many seconds. Fewer of them are done where that is shorter, or
    less is written meanwhile, than a release wants."""
    client, installation, forum = stage
    with ExitStack() as stack:
        reader = stack.enter_context(_Reader(client))
        writer = stack.enter_context(_Writer(world, installation, forum))
        time.sleep(max(SHORTEST, seconds * FIRST))
        drive.wait_until(reader.has_some)
        usual, before = reader.p99(), world.gateway.memory()
        lines = []
        for _ in range(READERS):
            line = _Stalled(world)
            stack.enter_context(line)
            line.watch()
            lines.append(line)
        _settle(lines)
        begun, highest = time.monotonic(), world.gateway.memory()
        reader.forget()
        wrote = writer.count
        while time.monotonic() - begun < seconds:
            time.sleep(0.25)
            highest = max(highest, world.gateway.memory())
        lasted = time.monotonic() - begun
        rate = (writer.count - wrote) / lasted
        stalled = sum(1 for line in lines if line.is_open)
        slow = reader.p99()
    grown = highest - before
    tally.done = round(READERS * min(1.0, lasted / SECONDS) * min(1.0, rate / RATE))
    world.cx.measure("readers stalled, s", lasted)
    world.cx.measure("events a second beside stalled readers", rate)
    world.cx.measure("more memory with stalled readers, MiB", grown / (1 << 20))
    world.cx.measure("p99 of a reader before, ms", usual * 1000)
    world.cx.measure("p99 of a reader beside stalled ones, ms", slow * 1000)
    limit = MAY_GROW + EACH * READERS
    tally.expect(grown <= limit, f"{grown >> 20} MiB more with {READERS} stalled readers")
    tally.expect(stalled == READERS, f"only {stalled} of {READERS} readers were stalled to the end")
    tally.expect(usual < float("inf"), "another reader got nothing before any was stalled")
    if usual <= USUAL:
        fault = f"p99 of another reader went from {usual:.3f} to {slow:.3f} s"
        tally.expect(slow <= 2 * usual + NOISE, fault)
    tally.expect(world.gateway.is_alive, "the gateway ended")


def _settle(lines: list["_Stalled"]) -> None:
    """Waits until nothing comes any more: they have what their windows took, and are stalled."""
    until = time.monotonic() + 20.0
    taken = None
    while taken != (now := [len(line.seen) for line in lines]):
        if time.monotonic() > until:
            return
        taken = now
        time.sleep(1.0)


class _Address:
    """What `Line` wants to know of a gateway."""

    def __init__(self, world: World):
        self.address, self.token = world.gateway.address, world.token


class _Stalled(Line):
    """A reader whose window is full soon, and stays so."""

    def __init__(self, world: World):
        self.is_open = True
        super().__init__(_Address(world))

    def watch(self) -> None:
        body = event_pb2.WatchEventsRequest(start_at=event_pb2.START_AT_EARLIEST).SerializeToString()
        message = EMPTY[:1] + len(body).to_bytes(4, "big") + body
        self.send(self.head(1, WATCH), DataFrame(1, data=message, flags=["END_STREAM"]))

    def _read(self) -> None:
        super()._read()
        self.is_open = False

    def _answer(self, frame) -> None:
        super()._answer(frame)
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        if isinstance(frame, SettingsFrame):
            self.seen.clear()


class _Writer:
    """Hooks from several sides, up to the rate."""

    def __init__(self, world: World, installation, forum):
        self._world, self._installation, self._forum = world, installation, forum
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.count = 0

    def __enter__(self) -> "_Writer":
        for number in range(WRITERS):
            threading.Thread(target=self._write, args=(number,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()

    def _write(self, number: int) -> None:
        line = http.client.HTTPConnection(self._world.gateway.public_address, timeout=30)
        next_time, post = time.monotonic(), number * 100_000_000
        while not self._stop.is_set():
            post += 1
            # When it was written stands in it.
            path, body, headers = drive.hook(
                self._installation, self._forum.url, post, f"{time.monotonic():.6f}"
            )
            try:
                line.request("POST", path, body, headers)
                line.getresponse().read()
                with self._lock:
                    self.count += 1
            except OSError:
                line.close()
            next_time = max(next_time + WRITERS / RATE, time.monotonic() - 1)
            if (wait := next_time - time.monotonic()) > 0:
                self._stop.wait(wait)
        line.close()


class _Reader:
    """A reader who reads, and how long events take to it."""

    def __init__(self, client):
        self._client = client
        self._took: list[float] = []

    def __enter__(self) -> "_Reader":
        request = event_pb2.WatchEventsRequest(start_at=event_pb2.START_AT_LATEST)
        self._call = self._client.events.WatchEvents(request)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._call.cancel()

    def _read(self) -> None:
        try:
            for message in self._call:
                now = time.monotonic()
                for event in message.events:
                    if event.HasField("platform"):
                        self._took.append(now - float(event.platform.data["raw"]))
        except grpc.RpcError:
            pass

    def forget(self) -> None:
        self._took = []

    def has_some(self) -> bool:
        return len(self._took) > 0

    def p99(self) -> float:
        took = sorted(self._took)
        return took[len(took) * 99 // 100] if took else float("inf")
