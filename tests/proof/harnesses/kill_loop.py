"""H1: the gateway is killed at any moment, again and again, under load."""

import time
from typing import Iterator

from ..checker import Checker
from ..harness import EVERY_RUN, Context, Finding, Tally, World, harness
from ..load import Load, loaded, settle
from ..server import is_busy

# So many kills to a world; then a fresh one, whose dumps are small again.
KILLS = 25
# The longest time from a start to the kill, in seconds.
LONGEST = 1.5
# A start that takes longer is a violation (R20).
READY = 5.0

# The places that `server/src/proof.rs` names, and at which pass at the latest it dies there;
# those of the trimming are in `trim.py`, where there is something to trim.
PLACES = {
    "before-commit": 30,
    "after-commit": 30,
    "between-read-and-send": 60,
    "before-send": 40,
    "after-send": 40,
    "before-hook-answer": 30,
    "after-hook-answer": 30,
    "before-call-answer": 30,
    "after-call-answer": 30,
}


class Watched:
    """A world under load, checked piece by piece."""

    def __init__(self, world: World, load: Load):
        self.world = world
        self.load = load
        self.checker = Checker()
        self._read = 0

    def lines(self) -> list[dict]:
        """The records that are new."""
        all_of_them = self.world.records.read()
        new, self._read = all_of_them[self._read :], len(all_of_them)
        return new

    def check(self) -> list[Finding]:
        # First the records, then the dump: it has whatever they speak of.
        lines = self.lines()
        return self.checker.check(lines, self.world.dump())

    def finish(self) -> list[Finding]:
        """Lets everything come to rest, then checks all of it."""
        self.load.pause()
        settle(self.world)
        deadline = time.monotonic() + 15
        found: list[Finding] = []
        while time.monotonic() < deadline:
            lines, dump = self.lines(), self.world.dump()
            last = dump.events[-1]["position"]
            found += self.checker.check(lines, dump)
            if all(stream.reached == last for stream in self.checker.streams.values()):
                break
            time.sleep(0.2)
        found += self.checker.finish(self.lines(), self.world.dump())
        return found

    def surprises(self) -> Finding:
        """What no kill explains: a reader was refused."""
        tally = Tally("R9", done=0)
        tally.expect(not self.load.surprises, "; ".join(self.load.surprises[:3]))
        self.load.surprises.clear()
        return tally.finding()


def writers(load: Load) -> dict:
    return {load.posts: 2, load.starts: 2, load.changes: 1, load.failures: 1}


def restart(world: World, ready: Tally, **settings: str) -> None:
    """Starts the gateway again; it has to be ready in time and without help. On a busy
    machine the time is measured and not judged."""
    gateway = world.gateway
    gateway.start(**settings)
    if is_busy():
        # Then a start says more of the machine than of the gateway.
        ready.done = 0
        world.cx.measure("restart to ready, the machine being busy, s", gateway.start_seconds)
        return
    world.cx.measure("restart to ready under load, s", gateway.start_seconds)
    ready.expect(gateway.start_seconds <= READY, f"ready after {gateway.start_seconds:.2f} s")


@harness(
    "H1",
    "kill-loop",
    required={"R1": 1000, "R3": 2000, "R4": EVERY_RUN, "R5": EVERY_RUN, "R6": EVERY_RUN,
              "R7": EVERY_RUN, "R8": EVERY_RUN, "R9": EVERY_RUN, "R15": 2000, "R20": EVERY_RUN},
    weight=3.0,
)
def kill_loop(cx: Context) -> Iterator[list[Finding]]:
    """SIGKILL at a random moment of 0 to 1,500 ms after it serves, under load; restart; check."""
    with cx.world() as world, loaded(world) as load:
        watched = Watched(world, load)
        load.read()
        load.write(writers(load))
        for _ in range(KILLS):
            time.sleep(cx.random.uniform(0, LONGEST))
            world.gateway.kill()
            ready = Tally("R20")
            restart(world, ready)
            found = watched.check()
            measure_stored(cx, found)
            yield [*found, ready.finding(), watched.surprises()]
        yield without_done(watched.finish())


def measure_stored(cx: Context, found: list[Finding]) -> None:
    """How much there was to lose, and how much of it was lost."""
    for finding in found:
        if finding.property == "R1":
            cx.measure("hooks acked from kill to kill", finding.checked)
            cx.measure("hooks acked from kill to kill, lost", finding.violated)


def without_done(found: list[Finding]) -> list[Finding]:
    """The same findings, which are no iteration of their own for R1 and R8."""
    for finding in found:
        if finding.property in ("R1", "R8"):
            finding.done = 0
    return found


@harness("H1", "failpoints", required={"R1": 500, "R9": EVERY_RUN, "R20": EVERY_RUN}, weight=2.0)
def failpoints(cx: Context) -> Iterator[list[Finding]]:
    """The gateway dies at each place where it commits, sends or answers; one that it never
    reaches fails the run."""
    with cx.world() as world, loaded(world) as load:
        watched = Watched(world, load)
        load.read()
        load.write(writers(load))
        for _ in range(2):
            for place, most in PLACES.items():
                ready = Tally("R20")
                world.gateway.kill()
                armed = f"{place}=kill@{cx.random.randint(1, most)}"
                died = dies(world, armed)
                world.gateway.kill()
                restart(world, ready)
                found = watched.check()
                hit = Tally("R1", done=0)
                hit.expect(died, f"the gateway never came to {armed}")
                cx.measure(f"kills {place}", 1)
                yield [*found, hit.finding(), ready.finding(), watched.surprises()]
        yield without_done(watched.finish())


def dies(world: World, armed: str, seconds: float = 20.0) -> bool:
    """Starts the gateway with a place where it dies; whether it did."""
    gateway = world.gateway
    gateway.start(wait=False, METAGOV_FAILPOINTS=armed)
    deadline = time.monotonic() + seconds
    while gateway.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    return not gateway.is_alive and gateway.child.returncode == -9
