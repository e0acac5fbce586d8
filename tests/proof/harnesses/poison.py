"""H1 for deliveries that cannot be processed.

The proof's build cannot process a hook that has `METAGOV_POISON` in it, and waits less
before it tries again (`METAGOV_HASTE`). Each hook that was answered 2xx is in the log once, or waits, or is parked
after ten tries where the API shows it; nothing is dropped, and others are not held up.
What is parked is processed once somebody tries it again and it does not fail.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

import grpc

from discourse import FakeDiscourse
from metagov.v1 import plugin_pb2

from .. import drive
from ..harness import Context, Finding, Tally, World, harness
from ..trouble import Alive, Trouble, kill

ROWS, FEW = 120, 30
TRIES = 10
# So much of all deliveries is poison.
POISONED = 0.5
POISON = "p0is0n"
# Backoff is so many times shorter than in a release: the ten tries take 1.3 s, not 43 min.
HASTE = 2000


@harness("H1", "poison", required={"R2": 10_000}, weight=1.0)
def poison(cx: Context) -> Iterator[list[Finding]]:
    """Deliveries that cannot be processed: tried again, parked, never dropped."""
    with FakeDiscourse() as forum, cx.world(poison=POISON, haste=str(HASTE)) as world:
        with world.client() as client:
            drive.community(client)
            installation = drive.enable(client, "discourse", forum.config())
        number, parked_before, by_hand = 0, set(), set()
        while True:
            rows = FEW if cx.is_brief else ROWS
            posts = range(number, number + rows)
            number += rows
            poisoned = {post for post in posts if cx.random.random() < POISONED}
            with Trouble(lambda stop: _kill_once(world, stop)):
                acked = _deliver(world, installation, forum, posts, poisoned)
            drive.wait_until(lambda: not _of(world, "pending"), 40, 0.2)
            tally = Tally("R2", done=len(acked))
            found = world.dump()
            rows = found.rows("delivery")
            log = drive.delivered(found)
            missing = [post for post in acked if post not in log]
            parked = {row["id"] for row in rows if row["state"] == "parked"} - parked_before
            pending = [row for row in rows if row["state"] == "pending"]
            tally.expect(not pending, f"{len(pending)} deliveries wait still")
            for post in acked:
                # What is sound is not held up by what is not.
                if post not in poisoned:
                    tally.expect(post in log, f"post {post} is sound and not in the log")
                else:
                    tally.expect(post not in log, f"post {post} is poison and in the log")
            # A hook without an answer may have been kept, too, and be parked.
            unsure = len(posts) - len(acked)
            tally.expect(
                len(missing) <= len(parked) <= len(missing) + unsure,
                f"{len(missing)} acked are not in the log, {len(parked)} are parked",
            )
            for row in rows:
                if row["id"] in parked:
                    tally.expect(row["attempt_count"] == TRIES, f"parked after {row['attempt_count']}")
                    tally.expect(row["problem"] != "", "parked without a problem")
                elif row["id"] not in by_hand:
                    tally.expect(row["attempt_count"] <= TRIES, f"{row['attempt_count']} tries")
            cx.measure("deliveries parked, share", len(parked) / max(1, len(acked)))
            _shown(world, tally, parked)
            by_hand |= parked
            parked_before = _try_again(world, tally, missing)
            if tally.faults:
                world.keep()
            yield [tally.finding()]


def _kill_once(world: World, stop) -> None:
    if world.cx.random.random() < 0.3 and not stop.wait(world.cx.random.uniform(0, 0.4)):
        kill(world, Alive(), world.cx.random)


def _deliver(world: World, installation, forum, posts, poisoned: set[int]) -> list[int]:
    """Those that were answered 2xx, whatever became of them afterwards."""

    def one(post: int) -> int | None:
        text = f"{POISON} {post}" if post in poisoned else ""
        for _ in range(20):
            try:
                status = drive.deliver(world.gateway, installation, forum.url, post, text)
                return post if status == 200 else None
            except OSError:
                time.sleep(0.1)
        return None

    with ThreadPoolExecutor(8) as pool:
        return [post for post in pool.map(one, posts) if post is not None]


def _of(world: World, state: str) -> list[dict]:
    return [row for row in world.dump().rows("delivery") if row["state"] == state]


def _shown(world: World, tally: Tally, parked: set[str]) -> None:
    """What is parked is where an operator sees it."""
    listed, token = set(), ""
    with world.client() as client:
        while True:
            request = plugin_pb2.ListDeliveriesRequest(
                community_id=drive.COMMUNITY,
                states=[plugin_pb2.DELIVERY_STATE_PARKED],
                page_size=100,
                page_token=token,
            )
            page = client.plugins.ListDeliveries(request, timeout=drive.SECONDS)
            listed |= {delivery.delivery_id for delivery in page.deliveries}
            token = page.next_page_token
            if not token:
                break
    tally.expect(parked <= listed, f"{len(parked - listed)} are parked and not shown")


def _try_again(world: World, tally: Tally, missing: list[int]) -> set[str]:
    """Once it can be processed, it is. What is parked afterwards still."""
    world.gateway.kill()
    world.gateway.start(METAGOV_POISON="")
    with world.client() as client:
        for row in _of(world, "parked"):
            request = plugin_pb2.RetryDeliveryRequest(delivery_id=row["id"])
            try:
                client.plugins.RetryDelivery(request, timeout=drive.SECONDS)
            except grpc.RpcError as error:
                tally.expect(False, f"a parked delivery cannot be tried again: {error.details()}")
    log = drive.delivered(world.dump())
    for post in missing:
        tally.expect(post in log, f"post {post} is nowhere")
    left = {row["id"] for row in _of(world, "parked")}
    tally.expect(not left, f"{len(left)} stay parked")
    world.gateway.kill()
    world.gateway.start()
    return left
