"""R16: processes under random operations from several sides, and kills.

The history of each process, read from the log, is a path of the published machine; a
last state never changes; each transition has one event; row and log agree.
"""

import random
import threading
import time
from typing import Iterator

import grpc

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..trouble import Alive, Trouble, kill

PROCESSES = 40
WORKERS = 6
OPERATIONS, FEW = 240, 90
KILLED = 0.3
LAST = {"completed", "cancelled", "failed"}
# As `process.proto` publishes it; a process is first seen in any of these but starting.
MAY_BECOME = {
    "starting": {"open", "cancelled", "failed", *LAST},
    "open": {"open", *LAST},
    "completed": set(),
    "cancelled": set(),
    "failed": set(),
}


@harness("H1", "histories", required={"R16": 10_000}, weight=1.0)
def histories(cx: Context) -> Iterator[list[Finding]]:
    """Random operations at once: each history is a path of the published machine."""
    with cx.world(2 if cx.database == "postgres" else 1) as world:
        with world.client() as client:
            drive.stage(client, "ballot")
        while True:
            rng = random.Random(cx.random.random())
            told: dict[str, str] = {}
            processes = _start(world)
            with Trouble(lambda stop: _kill_once(world, rng, stop)):
                _operate(world, processes, told)
            tally = Tally("R16", done=len(processes))
            _check(tally, world, set(processes), told)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _kill_once(world: World, rng: random.Random, stop: threading.Event) -> None:
    if rng.random() < KILLED and not stop.wait(rng.uniform(0.0, 0.8)):
        kill(world, Alive(), rng)


def _start(world: World) -> list[str]:
    rng, started = world.cx.random, []
    with world.client() as client:
        for _ in range(PROCESSES):
            soon = round(time.time() + rng.uniform(0.8, 1.5), 3) if rng.random() < 0.3 else None
            started.append(drive.vote(client, close_time=soon).process_id)
    return started


def _operate(world: World, processes: list[str], told: dict[str, str]) -> None:
    def work(rng: random.Random) -> None:
        clients = [world.client(gateway) for gateway in world.gateways]
        for _ in range((FEW if world.cx.is_brief else OPERATIONS) // WORKERS):
            client, process = rng.choice(clients), rng.choice(processes)
            try:
                _one(client, process, told, rng)
            except grpc.RpcError as error:
                if drive.reason(error) == "":
                    # It is away; it comes back.
                    time.sleep(0.05)
        for client in clients:
            client.channel.close()

    threads = [
        threading.Thread(target=work, args=(random.Random(world.cx.random.random()),), daemon=True)
        for _ in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _one(client, process: str, told: dict[str, str], rng: random.Random) -> None:
    what = rng.random()
    if what < 0.6:
        drive.cast(client, process, f"voter {rng.randrange(5)}", [rng.choice("abc")])
        return
    if what < 0.8:
        answer = drive.close(client, process)
    else:
        answer = drive.cancel(client, process)
    # What somebody was told of a last state stands.
    state = {3: "completed", 4: "cancelled", 5: "failed"}.get(answer.state, "open")
    told.setdefault(process, state)


def _check(tally: Tally, world: World, processes: set[str], told: dict[str, str]) -> None:
    time.sleep(0.3)
    found = world.dump()
    seen: dict[str, list[dict]] = {process: [] for process in processes}
    for _, process in drive.process_events(found):
        if process["id"] in processes:
            seen[process["id"]].append(process)
    rows = {row["id"]: row for row in found.rows("process")}
    for process, history in seen.items():
        states = [it["state"] for it in history]
        revisions = [it["revision"] for it in history]
        path = f"{process}: {states}"
        previous = "starting"
        for state in states:
            tally.expect(state in MAY_BECOME[previous], f"{path}: {previous} to {state}")
            previous = state
        tally.expect(
            revisions == list(range(1, len(history) + 1)), f"{process}: revisions {revisions}"
        )
        row = rows.get(process)
        if not tally.expect(row is not None, f"{path}: it was started, and has no row"):
            continue
        # A row that moves on by its timer meanwhile is in a later event.
        tally.expect(
            history and (row["state"], row["revision"]) == (states[-1], revisions[-1]),
            f"{path}: the row is {row['state']} at {row['revision']}, the log at {revisions[-1:]}",
        )
        ends = sum(1 for state in states if state in LAST)
        tally.expect(ends <= 1, f"{path}: ended {ends} times")
        if process in told and told[process] in LAST:
            tally.expect(states[-1:] == [told[process]], f"{path}: told that it is {told[process]}")
