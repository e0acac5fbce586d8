"""A community in which things happen, and what the gateway says of them."""

import re
import ssl
import urllib.request

from calls import create_community, enable
from gateway import Gateway
from metagov.v1 import community_pb2, event_pb2


def plant(gateway: Gateway) -> None:
    """Creates the community `garden` with what the page uses."""
    create_community(gateway, "garden")
    enable(gateway, "randomness", {"default_low": 0, "default_high": 10})
    enable(gateway, "ballot")


def rename(gateway: Gateway, *names: str) -> None:
    """Gives the community one name after the other, each an event."""
    for name in names:
        garden = community_pb2.Community(community_id="garden", display_name=name)
        gateway.communities.UpdateCommunity(community_pb2.UpdateCommunityRequest(community=garden))


def log(gateway: Gateway) -> list[str]:
    """The ids of all events so far."""
    start = event_pb2.START_AT_EARLIEST
    page = gateway.events.ListEvents(event_pb2.ListEventsRequest(start_at=start, page_size=1000))
    assert page.caught_up
    return [event.event_id for event in page.events]


def streams(gateway: Gateway) -> int:
    """How many streams of events the gateway has open."""
    return int(_metrics(gateway, r'metagov_streams_open\{method="metagov.v1.EventService/WatchEvents"\}'))


def _metrics(gateway: Gateway, name: str) -> str:
    bearer = {"authorization": f"Bearer {gateway.token}"}
    request = urllib.request.Request(f"http://{gateway.address}/metrics", headers=bearer)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        found = re.search(rf"^{name} (.*)$", answer.read().decode(), re.MULTILINE)
    return found[1] if found else "0"
