"""What befalls gateways while a harness works: kills, pauses, clocks that jump."""

import random
import threading
import time
from pathlib import Path
from typing import Callable

from .harness import CannotRun, World
from .server import Gateway


class Trouble:
    """Runs `work` in a thread for as long as it is entered; `stop` says that it is over.
    What it raises comes up at the end."""

    def __init__(self, work: Callable[[threading.Event], None]):
        self._work = work
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Trouble":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            self._work(self._stop)
        except BaseException as error:
            self._failed = error


class Alive:
    """When which gateway was able to work, in wall clock time, since a timer can only be in
    time while one is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # (from, to) in which a gateway was not, by its number.
        self._out: list[tuple[int, float, float]] = []
        self._open: dict[int, float] = {}

    def out(self, number: int) -> None:
        with self._lock:
            self._open.setdefault(number, time.time())

    def back(self, number: int) -> None:
        with self._lock:
            self._out.append((number, self._open.pop(number, time.time()), time.time()))

    def one_lives(self, count: int, begin: float, end: float) -> bool:
        """Whether at least one gateway was able to work all the time."""
        with self._lock:
            out = [*self._out, *((n, since, float("inf")) for n, since in self._open.items())]
        troubled = {number for number, since, until in out if since < end and until > begin}
        return len(troubled) < count


def kill(world: World, alive: Alive, rng: random.Random) -> None:
    """SIGKILL of a random gateway, which is started again."""
    number = rng.randrange(len(world.gateways))
    gateway = world.gateways[number]
    alive.out(number)
    gateway.kill()
    time.sleep(rng.uniform(0, 0.5))
    gateway.start()
    alive.back(number)


def pause(world: World, alive: Alive, rng: random.Random, longest: float) -> float:
    """SIGSTOP of a random gateway, and SIGCONT after 1 s to `longest`; how long."""
    number = rng.randrange(len(world.gateways))
    gateway = world.gateways[number]
    seconds = min(longest, 1.0 + rng.expovariate(1 / 6.0))
    alive.out(number)
    gateway.pause()
    time.sleep(seconds)
    gateway.go_on()
    # What it must catch up with first.
    time.sleep(0.2)
    alive.back(number)
    return seconds


class Clock:
    """The wall clock of one gateway, as libfaketime lets it see it."""

    LIBRARY = "libfaketimeMT.so.1"
    # The file is looked at once in each second.
    SEEN_AFTER = 1.2

    def __init__(self, gateway: Gateway):
        self._file = gateway.folder / "clock"
        self.offset = 0
        self.set(0)
        gateway.settings |= {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # So many whole seconds it does not look at the file; else it is ten.
            "FAKETIME_CACHE_DURATION": "0",
            # A jump is one of the wall clock.
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def set(self, offset: int) -> None:
        """So many seconds before or after the true time."""
        self.offset = offset
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.replace(self._file)
        self._set_at = time.monotonic()

    @property
    def unseen(self) -> float:
        """How many seconds it takes until what was set has come to the gateway."""
        return max(0.0, self._set_at + self.SEEN_AFTER - time.monotonic())


def library() -> Path:
    """Where libfaketime is."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{Clock.LIBRARY}"))
    if not found:
        raise CannotRun("libfaketime is missing; install it (Debian: apt-get install faketime)")
    return found[0]
