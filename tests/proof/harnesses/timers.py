"""H3 and H10: timers, while the gateways are killed, paused, and their clocks jump.

Each vote with a close_time that has come is closed by exactly one transition, never
before its time by the database's clock, and at most 2 s later while a gateway lives.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator

import grpc

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..trouble import Alive, Clock, Trouble, kill, pause

TIMERS = 150
# In a sample.
FEW = 40
# In one world; then it begins anew.
ROUNDS = 10
# Their close_times lie in so many seconds from now.
SOON, SPREAD, SHORT_SPREAD = 2.5, 6.0, 2.0
# How late is in time.
LATE = 2.0
LONGEST_PAUSE = 60.0
# No pause of the sample is longer.
SHORT_PAUSE, BRIEF_PAUSE = 8.0, 2.0
# How long there is no trouble, in seconds. While the only gateway has some, and shortly
# before, no timer need be in time: with less of it there are enough to speak of p99.
OFTEN, SELDOM = (0.2, 2.5), (1.0, 8.0)
JUMPS = [3600, -3600, 86_400, -86_400]
MICRO = 1_000_000


@harness("H3", "timers", required={"R17": 20_000}, weight=1.0)
def timers(cx: Context) -> Iterator[list[Finding]]:
    """Timers under kills and pauses: each fires once, none early, late by 2 s at p99."""
    # The longer it is between looking and writing, the more pauses fall in between; then
    # it says nothing of how late timers are otherwise.
    is_slow = cx.database == "postgres" and cx.random.random() < 0.5
    slow = {"failpoints": "between-close-and-keep=sleep@30"} if is_slow else {}
    with cx.world(_replicas(cx), **slow) as world:
        _stage(world)
        lates: list[float] = []
        for _ in range(ROUNDS):
            longest = SHORT_PAUSE if cx.deadline - time.monotonic() < 120 else LONGEST_PAUSE
            longest = BRIEF_PAUSE if cx.is_brief else longest
            quiet = OFTEN if len(world.gateways) > 1 else SELDOM

            def trouble(alive: Alive, stop: threading.Event, rng: random.Random) -> None:
                while not stop.wait(rng.uniform(*quiet)):
                    if rng.random() < 0.5:
                        kill(world, alive, rng)
                    else:
                        cx.measure("pause of a gateway, s", pause(world, alive, rng, longest))

            tally = Tally("R17", done=0)
            known = len(lates)
            tally.done = _round(world, tally, trouble, lates)
            if not is_slow:
                for late in lates[known:]:
                    cx.measure("timer late, s", late)
                _in_time(tally, lates)
            yield [tally.finding()]


@harness("H10", "clock", required={"R22": 200}, weight=1.0)
def clock(cx: Context) -> Iterator[list[Finding]]:
    """Clocks that jump by an hour and a day: timers hold, the order of events too."""
    with cx.world(_replicas(cx), start=False) as world:
        clocks = [Clock(gateway) for gateway in world.gateways]
        for gateway in world.gateways:
            gateway.start()
        _stage(world)
        lates: list[float] = []
        while True:
            tally = Tally("R22", done=0)

            def trouble(alive: Alive, stop: threading.Event, rng: random.Random) -> None:
                while not stop.wait(rng.uniform(0.5, 2.0)):
                    it = rng.choice(clocks)
                    # One that nobody saw would be none.
                    if stop.wait(it.unseen):
                        break
                    it.set(rng.choice([to for to in (0, *JUMPS) if to != it.offset]))
                    tally.done += 1
                time.sleep(max(it.unseen for it in clocks))
                for it in clocks:
                    it.set(0)
                # The time it takes to be seen, and the longest sleep of the chores.
                time.sleep(7)

            known = len(lates)
            _round(world, tally, trouble, lates)
            if cx.database == "postgres":
                # Its clock is the one that counts, and does not jump.
                for late in lates[known:]:
                    cx.measure("timer late, clocks jumping, s", late)
                _in_time(tally, lates)
            _order(world, tally)
            yield [tally.finding()]


def _replicas(cx: Context) -> int:
    return 3 if cx.database == "postgres" else 1


def _stage(world: World) -> None:
    with world.client() as client:
        drive.stage(client, "ballot")


def _round(world: World, tally: Tally, trouble: Callable, lates: list[float]) -> int:
    """Starts timers, waits for them in trouble, and checks; how many there were. How late
    those were that could be in time goes into `lates`."""
    cx, alive = world.cx, Alive()
    due = _start(world)
    rng = random.Random(cx.random.random())
    end = max(due.values())
    with Trouble(lambda stop: trouble(alive, stop, rng)):
        time.sleep(max(0.0, end - time.time()))
    # A kill or a pause may have been under way: from here on all of them live.
    drive.wait_until(lambda: _all_done(world, due), LATE + 15, 0.25)
    lates += _check(world, tally, due, alive)
    if tally.faults:
        world.keep()
    return len(due)


def _start(world: World) -> dict[str, float]:
    """The processes, and when each is to close."""
    rng = world.cx.random
    clients = [world.client(gateway) for gateway in world.gateways]
    count, spread = (FEW, SHORT_SPREAD) if world.cx.is_brief else (TIMERS, SPREAD)
    plan = [(rng.choice(clients), rng.uniform(0, spread)) for _ in range(count)]
    begun = time.time()

    def one(planned) -> tuple[str, float] | None:
        client, offset = planned
        try:
            # Whole milliseconds: no doubt about rounding.
            at = round(time.time() + SOON + offset, 3)
            return drive.vote(client, close_time=at).process_id, at
        except grpc.RpcError:
            return None

    with ThreadPoolExecutor(16) as pool:
        started = [it for it in pool.map(one, plan) if it is not None]
    for client in clients:
        client.channel.close()
    if len(started) < count // 2:
        raise RuntimeError(f"only {len(started)} votes could be started in {time.time() - begun} s")
    return dict(started)


def _rows(world: World, due: dict[str, float]) -> dict[str, dict]:
    return {row["id"]: row for row in world.dump().rows("process") if row["id"] in due}


def _all_done(world: World, due: dict[str, float]) -> bool:
    return all(row["state"] == "completed" for row in _rows(world, due).values())


def _check(world: World, tally: Tally, due: dict[str, float], alive: Alive) -> list[float]:
    lates: list[float] = []
    ends: dict[str, list[dict]] = {}
    found = world.dump()
    for _, process in drive.process_events(found):
        if process["id"] in due and process["state"] not in ("starting", "open"):
            ends.setdefault(process["id"], []).append(process)
    for process, at in due.items():
        of = ends.get(process, [])
        states = [event["state"] for event in of]
        if not tally.expect(states == ["completed"], f"{process}, due {at}: ended as {states}"):
            continue
        # By the database's clock; with one gateway on SQLite that is the gateway's.
        late = of[0]["end_time"] / MICRO - at
        tally.expect(late >= 0, f"{process}: {-late:.6f} s early")
        if alive.one_lives(len(world.gateways), at, at + LATE):
            lates.append(late)
    return lates


def _in_time(tally: Tally, lates: list[float]) -> None:
    """Late by at most 2 s at p99, once there are enough to speak of one."""
    if len(lates) >= 100:
        p99 = sorted(lates)[len(lates) * 99 // 100]
        tally.expect(p99 <= LATE, f"{p99:.3f} s late at p99 of {len(lates)}")


def _order(world: World, tally: Tally) -> None:
    """Positions count up without a hole, and times never go back."""
    positions, last = [], 0
    for row in world.dump().events:
        positions.append(row["position"])
        tally.expect(row["record_time"] >= last, f"{row['position']} is older than the one before")
        last = row["record_time"]
    first = positions[0] if positions else 1
    tally.expect(positions == list(range(first, first + len(positions))), "positions with a gap")
