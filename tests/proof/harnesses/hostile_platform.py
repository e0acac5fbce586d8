"""H8: a platform that does its worst, clients that go away, and a gateway that is killed.

Whatever happens, the platform is asked for an effect at most once for each request id,
and who asked is told OK only if it took place, a definite refusal only if it did not,
and OUTCOME_UNKNOWN in any doubt.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Iterator

import grpc

from metagov.v1 import action_pb2

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..hostile import FAULTS, SOUND, Hostile
from ..server import Gateway
from ..trouble import Trouble

# Requests of each kind in one iteration.
EACH, FEW = 25, 4
CALL_TIMEOUT = 0.2
STEP_TIMEOUT = 1.0
# A claim that a kill left behind holds until the step's time-out and its margin.
LEASE = STEP_TIMEOUT + 15.0
# Each that is told to wait a second makes the others of its installation wait, too.
ASKS = 40
BUSY = [f"busy-{number}" for number in range(8)]
# One that was asked for so often, each `ASKS` a lease later than the last, has no answer.
MOST_ASKS = 10 * ASKS
WORKERS = 32
KILLED = 0.25


@dataclass
class Request:
    """A request id, and what its caller was told last."""

    fault: str
    name: str
    # "", "ok", "unknown", or a definite reason.
    told: str = ""
    attempts: int = 0
    # What the gateway said last that does not stay.
    put_off: str = ""
    # Not before this monotonic time.
    again: float = 0.0
    # How many effects of it were seen when it was last looked at.
    took: int = 0
    is_judged: bool = False

    @property
    def place(self) -> str:
        """The installation that it goes to."""
        if self.fault == "busy":
            return BUSY[int(self.name.rsplit("-", 1)[1]) % len(BUSY)]
        return "refused" if self.fault == "refused" else "all"

    @property
    def is_settled(self) -> bool:
        return self.told != ""

    @property
    def is_over(self) -> bool:
        return self.is_settled or self.attempts >= MOST_ASKS


@harness("H8", "hostile-platform", required={"R14": 5000 * len(FAULTS)}, weight=1.5)
def hostile_platform(cx: Context) -> Iterator[list[Finding]]:
    """Each fault of a platform: an effect at most once, and any doubt is said."""
    replicas = 2 if cx.database == "postgres" else 1
    settings = {
        "call_timeout": f"{round(CALL_TIMEOUT * 1000)}ms",
        "connect_timeout": "200ms",
        "step_timeout": f"{round(STEP_TIMEOUT * 1000)}ms",
        "max_answer_size": "64KiB",
        "platform_concurrency": "64",
    }
    with ExitStack() as stack:
        world = stack.enter_context(cx.world(replicas, **settings))
        forums = {name: stack.enter_context(Hostile(CALL_TIMEOUT * 2)) for name in ("all", *BUSY)}
        gone = Hostile(CALL_TIMEOUT)
        with world.client() as client, gone:
            drive.community(client)
            installations = {}
            for name, forum in [*forums.items(), ("refused", gone)]:
                config = {"server_url": forum.url, "api_key": "a key", "webhook_secret": "secret"}
                made = drive.enable(client, "discourse", config)
                installations[name] = made.installation_id
        # From now on nobody listens there.
        effects = _Effects(forums, gone)
        requests: list[Request] = []
        waiting: list[Request] = []
        counted = 0
        while True:
            for fault in [*FAULTS, SOUND]:
                for _ in range(FEW if cx.is_brief else EACH):
                    requests.append(Request(fault, f"{fault}-{len(requests) + 1}"))
                    waiting.append(requests[-1])
            cx.random.shuffle(waiting)
            # What a kill leaves behind is waited for longer than a sample takes.
            kills = not cx.is_brief and cx.random.random() < KILLED
            victim, after = cx.random.choice(world.gateways), cx.random.uniform(0.05, 1.5)
            with Trouble(lambda _: kills and _kill(victim, after)):
                _pursue_all(world, waiting, installations)
            over = [request for request in waiting if request.is_over]
            waiting = [request for request in waiting if not request.is_over]
            if cx.is_over or len(waiting) > 10 * EACH * len(FAULTS):
                # What a kill left behind is known once its lease has run out.
                time.sleep(max(0.0, max((r.again for r in waiting), default=0) - time.monotonic()))
                _pursue_all(world, waiting, installations)
                over, waiting = over + waiting, []
            tally = Tally("R14", done=0)
            for request in over:
                _judge(tally, request, effects)
                cx.measure(f"calls for an action, platform: {request.fault}", request.attempts)
            _look_again(tally, requests, effects)
            # In the order in which they were made: none is left out since it takes long.
            while counted < len(requests) and requests[counted].is_judged:
                tally.done += requests[counted].fault != SOUND
                counted += 1
            _ask_again(world, tally, cx.random.sample(over, min(10, len(over))), installations, effects)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


class _Effects:
    """How often each request took effect, wherever it was sent."""

    def __init__(self, forums: dict[str, Hostile], gone: Hostile):
        self._forums = [*forums.values(), gone]

    def of(self, request: Request) -> int:
        return sum(forum.effects[request.name] for forum in self._forums)


def _judge(tally: Tally, request: Request, effects: _Effects) -> None:
    # A slow platform may be at it still.
    took = request.took = effects.of(request)
    request.is_judged = True
    tally.expect(took <= 1, f"{request.name}: {took} effects, told {request.told!r}")
    if request.told == "ok":
        tally.expect(took == 1, f"{request.name}: told OK without an effect")
    elif request.told == "unknown":
        tally.checked += 1
    elif request.told == "" and request.put_off == "PLATFORM_RATE_LIMITED":
        # Others of its installation were always quicker. It is not in doubt, but not done.
        tally.expect(took == 0, f"{request.name}: took effect, told {request.put_off}")
    elif request.told == "":
        tally.expect(False, f"{request.name}: no answer after {request.attempts} attempts")
    else:
        tally.expect(took == 0, f"{request.name}: took effect, told {request.told}")


def _look_again(tally: Tally, requests: list[Request], effects: _Effects) -> None:
    """No second effect has come since a request was last looked at, be it judged or not."""
    for request in requests:
        took = effects.of(request)
        if took > max(1, request.took):
            tally.expect(False, f"{request.name}: {took} effects by now, told {request.told!r}")
        request.took = took


def _ask_again(world, tally, some: list[Request], installations, effects: _Effects) -> None:
    """The same id gives the same answer, and no second effect."""
    with world.client() as client:
        for request in some:
            if request.told not in ("ok", "unknown"):
                continue
            took, twin = effects.of(request), Request(request.fault, request.name)
            for _ in range(5):
                _once(client, twin, installations, 10.0)
                if twin.is_settled:
                    break
                time.sleep(0.2)
            tally.expect(
                twin.told == request.told, f"{request.name}: told {request.told}, then {twin.told}"
            )
            tally.expect(effects.of(request) == took, f"{request.name}: another effect")


def _pursue_all(world: World, requests: list[Request], installations: dict) -> None:
    now = time.monotonic()
    ready = [request for request in requests if request.again <= now]
    seeds = {request.name: world.cx.random.random() for request in ready}
    clients = [world.client(gateway) for gateway in world.gateways]
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            work = lambda it: _pursue(clients, it, installations, random.Random(seeds[it.name]))
            list(pool.map(work, ready))
    finally:
        for client in clients:
            client.channel.close()


def _pursue(clients, request: Request, installations, rng: random.Random) -> None:
    """Asks with one id until there is an answer that stays, or it must wait."""
    for _ in range(ASKS):
        # Some clients go away at a random moment.
        patience = rng.uniform(0.001, 0.3) if rng.random() < 0.4 else 10.0
        _once(rng.choice(clients), request, installations, patience)
        if request.is_settled or request.again > time.monotonic() + 1:
            return
        time.sleep(rng.uniform(0.02, 0.3))
    # The claim may be one that a kill left behind.
    request.again = time.monotonic() + LEASE


def _once(client, request: Request, installations, patience: float) -> None:
    fault = request.fault
    asked = action_pb2.PerformActionRequest(
        community_id=drive.COMMUNITY,
        action="discourse.create-post",
        installation_id=installations[request.place],
        request_id=request.name,
        parameters=drive.struct(raw=f"{fault} {request.name}", topic_id=1),
    )
    request.attempts += 1
    try:
        client.actions.PerformAction(asked, timeout=patience)
        request.told = "ok"
    except grpc.RpcError as error:
        reason = drive.reason(error)
        if reason == "OUTCOME_UNKNOWN":
            request.told = "unknown"
        elif reason in ("", "DEADLINE_EXCEEDED"):
            # The caller went away, or the gateway did.
            pass
        elif reason in ("REQUEST_IN_PROGRESS", "DRAINING", "PLATFORM_RATE_LIMITED", "STORE_UNAVAILABLE"):
            request.put_off = reason
        elif reason != "PLATFORM_UNAVAILABLE" or request.attempts > 2:
            request.told = reason


def _kill(victim: Gateway, after: float) -> None:
    """Kills a gateway in the midst of it, and starts it again."""
    time.sleep(after)
    victim.kill()
    victim.start()
