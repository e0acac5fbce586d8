"""R7: changes of many events, which do not all fit in one batch together."""

from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

import grpc
from google.protobuf.duration_pb2 import Duration

from metagov.v1 import event_pb2, identity_pb2

from ..checker import Checker, position
from ..drive import COMMUNITY, community
from ..harness import EVERY_RUN, Context, Finding, World, harness
from ..load import SECONDS

# Merges to a world; each is a change of two events, after one of one event.
MERGES, THREADS = 440, 8
READS = 15


@harness("H1", "whole", required={"R4": EVERY_RUN, "R5": EVERY_RUN, "R7": 100}, weight=0.6)
def whole(cx: Context) -> Iterator[list[Finding]]:
    """Read from random places, from memory and from the table, the events of one change
    come in one batch."""
    with cx.world() as world:
        with world.client() as client:
            community(client)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: merge(world), range(THREADS)))
        for turn in range(READS):
            if turn % 5 == 4:
                world.gateway.kill()
                world.gateway.start()
            read(world, cx.random.randint(0, 40))
            found = Checker().check(world.records.read(), world.dump())
            world.records.clear()
            yield found


def merge(world: World) -> None:
    """Makes identities and merges them into the first one."""
    with world.client() as client:
        made = identity_pb2.CreateIdentityRequest(community_id=COMMUNITY)
        first = client.identities.CreateIdentity(made, timeout=SECONDS).identity.identity_id
        for _ in range(MERGES // THREADS):
            other = client.identities.CreateIdentity(made, timeout=SECONDS).identity.identity_id
            request = identity_pb2.MergeIdentitiesRequest(
                primary_identity_id=first, secondary_identity_id=other
            )
            client.identities.MergeIdentities(request, timeout=SECONDS)


def read(world: World, skipped: int) -> None:
    """Reads the log as a stream, without its first events."""
    request = event_pb2.WatchEventsRequest(
        start_at=event_pb2.START_AT_EARLIEST, heartbeat_interval=Duration(seconds=1)
    )
    with world.client() as client:
        if skipped:
            first = event_pb2.ListEventsRequest(page_size=skipped)
            request.after_cursor = client.events.ListEvents(first, timeout=SECONDS).cursor
        start = position(request.after_cursor) if skipped else 0
        stream = client.events.WatchEvents(request)
        try:
            for batch in stream:
                world.records.write(
                    "got", "watch", stream="all", wanted={}, start=start, cursor=batch.cursor,
                    events=[event.event_id for event in batch.events],
                )
                if batch.caught_up:
                    stream.cancel()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise
