"""The smallest harness: writes, reads, and compares; nothing is broken on purpose."""

from typing import Iterator

from metagov.v1 import community_pb2

from ..harness import EVERY_RUN, Context, Finding, Tally, harness

COMMUNITIES = 20


@harness("H0", "tour", required={"R4": EVERY_RUN}, weight=0.2)
def tour(cx: Context) -> Iterator[list[Finding]]:
    """Communities that were made stand in the log once each, in order."""
    with cx.world() as world, world.client() as client:
        for number in range(COMMUNITIES):
            community = community_pb2.Community(community_id=f"c{number}")
            with world.records.call("create-community", community=community.community_id):
                client.communities.CreateCommunity(
                    community_pb2.CreateCommunityRequest(community=community), timeout=10
                )
        tally = Tally("R4")
        positions = [row["position"] for row in world.dump().events]
        tally.expect(len(positions) == COMMUNITIES, f"{len(positions)} events")
        for earlier, later in zip(positions, positions[1:]):
            tally.expect(later == earlier + 1, f"{later} after {earlier}")
        yield [tally.finding()]
