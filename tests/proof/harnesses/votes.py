"""R18: votes at once, at several gateways, while some are killed and others close.

The outcome of a closed vote is the fold of the ballots that were accepted. None is
accepted after the close, and of a voter only the last one counts. On Postgres two
gateways take the ballots, so that no lock of one process can hide a race.
"""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Iterator

import grpc

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..trouble import Alive, Trouble, kill

VOTES, FEW = 12, 5
VOTERS = 6
# How often each voter votes in one vote.
BALLOTS = 5
OPTIONS = ["a", "b", "c"]
KILLED = 0.2


@dataclass
class Cast:
    """One ballot of a voter: when it was sent, what became of it."""

    choices: list[str]
    intent: float
    end: float = 0.0
    # "acked", "refused", or "" if nobody knows.
    told: str = ""


@dataclass
class Vote:
    process: str
    approval: bool
    # By voter, in the order of casting: a voter waits for each answer.
    casts: dict[str, list[Cast]] = field(default_factory=dict)
    closed: float = 0.0


@harness("H4", "votes", required={"R18": 5000}, weight=1.0)
def votes(cx: Context) -> Iterator[list[Finding]]:
    """Votes at once: the outcome is the fold of the accepted ballots."""
    with cx.world(2 if cx.database == "postgres" else 1) as world:
        with world.client() as client:
            drive.stage(client, "ballot")
        while True:
            held = _hold(world)
            rng = random.Random(cx.random.random())
            with Trouble(lambda stop: _kill_once(world, rng, stop)):
                _vote(world, held)
            _close(world, held)
            tally = Tally("R18", done=len(held))
            found = world.dump()
            for vote in held:
                _check(tally, vote, found)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _kill_once(world: World, rng: random.Random, stop: threading.Event) -> None:
    if rng.random() < KILLED and not stop.wait(rng.uniform(0.05, 0.6)):
        kill(world, Alive(), rng)


def _hold(world: World) -> list[Vote]:
    held = []
    with world.client() as client:
        for _ in range(FEW if world.cx.is_brief else VOTES):
            approval = world.cx.random.random() < 0.5
            more = {"method": "approval"} if approval else {}
            if world.cx.random.random() < 0.3:
                # Closed by its time, not by hand.
                more["close_time"] = round(time.time() + world.cx.random.uniform(0.8, 2.0), 3)
            held.append(Vote(drive.vote(client, options=OPTIONS, **more).process_id, approval))
    return held


def _vote(world: World, held: list[Vote]) -> None:
    """Each voter votes in all votes, in an order of their own; some votes are closed."""
    threads = []
    for number in range(VOTERS):
        rng = random.Random(world.cx.random.random())
        voter = f"voter {number}"
        for vote in held:
            vote.casts[voter] = []
        threads.append(threading.Thread(target=_voter, args=(world, held, voter, rng), daemon=True))
    rng = random.Random(world.cx.random.random())
    threads.append(threading.Thread(target=_closer, args=(world, held, rng), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _voter(world: World, held: list[Vote], voter: str, rng: random.Random) -> None:
    clients = [world.client(gateway) for gateway in world.gateways]
    todo = [vote for vote in held for _ in range(BALLOTS)]
    rng.shuffle(todo)
    for vote in todo:
        size = rng.randint(0, 3) if vote.approval else 1
        cast = Cast(rng.sample(OPTIONS, size), time.monotonic())
        vote.casts[voter].append(cast)
        try:
            drive.cast(rng.choice(clients), vote.process, voter, cast.choices)
            cast.told = "acked"
        except grpc.RpcError as error:
            if drive.reason(error) == "PROCESS_DONE":
                cast.told = "refused"
        cast.end = time.monotonic()
        if cast.told == "":
            time.sleep(0.05)
    for client in clients:
        client.channel.close()


def _closer(world: World, held: list[Vote], rng: random.Random) -> None:
    clients = [world.client(gateway) for gateway in world.gateways]
    for vote in rng.sample(held, len(held) // 2):
        time.sleep(rng.uniform(0, 0.15))
        try:
            drive.close(rng.choice(clients), vote.process)
            vote.closed = time.monotonic()
        except grpc.RpcError:
            pass
    for client in clients:
        client.channel.close()


def _close(world: World, held: list[Vote]) -> None:
    """What is open still is closed now; then nothing changes any more."""
    with world.client() as client:
        for vote in held:
            if not vote.closed:
                drive.wait_until(lambda: _closes(client, vote.process))
                vote.closed = time.monotonic()


def _closes(client, process: str) -> bool:
    try:
        drive.close(client, process)
        return True
    except grpc.RpcError:
        return False


def _check(tally: Tally, vote: Vote, found) -> None:
    process = next((row for row in found.rows("process") if row["id"] == vote.process), None)
    if not tally.expect(process is not None, f"{vote.process} was started, and has no row"):
        return
    if not tally.expect(process["state"] == "completed", f"{vote.process} is {process['state']}"):
        return
    kept = {
        row["voter"]: json.loads(row["choices"])
        for row in found.rows("ballot")
        if row["process_id"] == vote.process
    }
    for voter, casts in vote.casts.items():
        acked = [cast for cast in casts if cast.told == "acked"]
        for cast in acked:
            tally.expect(
                cast.intent <= vote.closed, f"{vote.process}: {voter} voted after the close"
            )
        # What nobody knows of may have come after the last one that was accepted.
        after = casts[casts.index(acked[-1]) + 1 :] if acked else casts
        may = [cast.choices for cast in [*acked[-1:], *after] if cast.told != "refused"]
        if not acked:
            may.append(None)
        tally.expect(
            kept.get(voter) in may, f"{vote.process}: {voter} has {kept.get(voter)}, not one of {may}"
        )
    counts = Counter(choice for choices in kept.values() for choice in choices)
    said = json.loads(process["tally"])
    shown = {option["option"]: option["count"] for option in said["options"]}
    tally.expect(
        shown == {option: counts[option] for option in OPTIONS},
        f"{vote.process}: tally {shown}, ballots {dict(counts)}",
    )
    tally.expect(
        said["voter_count"] == len(kept), f"{vote.process}: {said['voter_count']} of {len(kept)} voters"
    )
    # The event that everybody saw says the same.
    told = [it["tally"] for _, it in drive.process_events(found) if it["id"] == vote.process]
    tally.expect(told[-1:] == [said], f"{vote.process}: the last event says otherwise")
